//! The part of a workload that is measured.
//!
//! A window is from one arrival time to another, in seconds of the workload's own stamps: it has the same requests at
//! every speed. What arrives before it is replayed and not counted, so that caches, queues and batches are what they
//! would be; what arrives after it does not arrive at all, so that a window never depends on what comes behind it. The
//! last requests of a window therefore end in a system that empties, as those of a whole trace do.
//!
//! Counts of the system rather than of requests (transfers, copies, tiers, events, role switches) are of the whole run.

use conductor_core::units::Nanos;
use std::fmt;
use std::str::FromStr;

/// From when to when requests count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The first stamp that counts.
    pub from: Nanos,
    /// The first stamp that does not any more; `None`: all to the end count.
    pub until: Option<Nanos>,
}

impl Window {
    /// True if everything counts.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }

    /// Seconds of its beginning and end.
    #[must_use]
    pub fn seconds(&self) -> (f64, Option<f64>) {
        let until = self.until.map(Nanos::as_secs_f64);
        (self.from.as_secs_f64(), until)
    }

    /// The stamp at which it begins when replayed so many times faster.
    pub(crate) fn begins_at(&self, speed: f64) -> Nanos {
        hastened(self.from, speed)
    }
}

/// A stamp when replayed so many times faster. At speed 1 stamps stay exactly as they are.
pub(crate) fn hastened(at: Nanos, speed: f64) -> Nanos {
    match (speed - 1.0).abs() > 0.0 {
        true => Nanos((at.0 as f64 / speed) as u64),
        false => at,
    }
}

impl FromStr for Window {
    type Err = String;

    /// `600..1800`, `600..` or `..1800`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "expected FROM..UNTIL in seconds, UNTIL above FROM, as in 600..1800, 600.. or ..1800, found \"{text}\""
            )
        };
        let seconds = |part: &str| match part.trim() {
            "" => Ok(None),
            part => {
                let seconds = part.parse().ok().filter(|s| (0.0..=1e9).contains(s));
                let nanos = seconds.and_then(Nanos::from_secs_f64);
                nanos.map(Some).ok_or_else(wrong)
            }
        };
        let (from, until) = text.split_once("..").ok_or_else(wrong)?;
        let window = Self {
            from: seconds(from)?.unwrap_or_default(),
            until: seconds(until)?,
        };
        match window.until.is_some_and(|until| until <= window.from) {
            true => Err(wrong()),
            false => Ok(window),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, until) = self.seconds();
        write!(f, "{from}..")?;
        until.map_or(Ok(()), |until| write!(f, "{until}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_ranges_of_seconds() {
        let window: Window = "600..1800.5".parse().expect("a window");
        assert_eq!(window.seconds(), (600.0, Some(1800.5)));
        assert_eq!(window.to_string(), "600..1800.5");
        assert_eq!(window.begins_at(2.0), Nanos::from_secs(300));
        assert!("..".parse::<Window>().expect("all").is_whole());
        for text in [
            "", "5", "5..5", "7..5", "-1..5", "a..b", "0..nan", "1..2..3",
        ] {
            let error = text.parse::<Window>().expect_err(text);
            assert!(error.starts_with("expected FROM..UNTIL"), "{error}");
        }
    }
}

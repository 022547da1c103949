//! Units: time, tokens and bytes as newtypes over integers.
//!
//! Why: a scheduler that must give the same decisions in a simulator and in production, in debug and in
//! release, cannot keep time in floats. Integers also give literals in tests and total order in queues.
//! Arithmetic is checked (the workspace keeps `overflow-checks` on in release): a unit never wraps silently.
//!
//! Not here: clocks. `Nanos` is a point on, or a span of, the run's own time line; who owns the core stamps it.

use core::fmt;
use core::iter::Sum;
use core::ops::{Add, AddAssign, Div, Mul, Sub, SubAssign};
use serde::{Deserialize, Serialize};

/// Declares one integer unit: construction, getters, checked arithmetic, saturating subtraction.
macro_rules! unit {
    ($(#[$doc:meta])* $name:ident, $suffix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// None of it.
            pub const ZERO: Self = Self(0);
            /// The largest value.
            pub const MAX: Self = Self(u64::MAX);

            /// `self - other`, or zero where `other` is larger.
            #[must_use]
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }

            /// True for zero.
            #[must_use]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{} ", $suffix), self.0)
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }

        impl SubAssign for $name {
            fn sub_assign(&mut self, other: Self) {
                self.0 -= other.0;
            }
        }

        impl Mul<u64> for $name {
            type Output = Self;
            fn mul(self, factor: u64) -> Self {
                Self(self.0 * factor)
            }
        }

        impl Div<u64> for $name {
            type Output = Self;
            fn div(self, divisor: u64) -> Self {
                Self(self.0 / divisor)
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(values: I) -> Self {
                values.fold(Self::ZERO, Add::add)
            }
        }
    };
}

unit!(
    /// Nanoseconds: a point in time since the run's epoch, or a span of it.
    Nanos,
    "ns"
);
unit!(
    /// A count of tokens.
    Tokens,
    "tokens"
);
unit!(
    /// A count of bytes.
    Bytes,
    "bytes"
);

impl Nanos {
    /// One second.
    pub const SECOND: Self = Self(1_000_000_000);

    /// Whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// Whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1_000_000_000)
    }

    /// Seconds as people write them in files, rounded to the nearest nanosecond.
    ///
    /// `None` for a negative, non-finite or too large number (2^63 ns is 292 years).
    #[must_use]
    pub fn from_secs_f64(seconds: f64) -> Option<Self> {
        let nanos = seconds * 1e9 + 0.5;
        // The cast truncates, which completes the rounding; the range was checked, NaN fails it.
        (seconds >= 0.0 && nanos < 9.2e18).then_some(Self(nanos as u64))
    }

    /// Seconds, for reports; never for a decision.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl Tokens {
    /// How many blocks of `block` tokens hold these tokens; the last may be partial.
    #[must_use]
    pub const fn blocks(self, block: Self) -> u32 {
        self.0.div_ceil(block.0) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_round_to_the_nearest_nanosecond() {
        assert_eq!(Nanos::from_secs_f64(1.5), Some(Nanos(1_500_000_000)));
        assert_eq!(Nanos::from_secs_f64(0.000_000_000_6), Some(Nanos(1)));
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e11] {
            assert_eq!(Nanos::from_secs_f64(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_partial_block_counts() {
        assert_eq!(Tokens(0).blocks(Tokens(512)), 0);
        assert_eq!(Tokens(512).blocks(Tokens(512)), 1);
        assert_eq!(Tokens(513).blocks(Tokens(512)), 2);
    }
}

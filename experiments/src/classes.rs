//! Which requests belong to which class of the policy: a share of them, drawn, so that any trace can be given classes.
//!
//! All requests of a session are of one class. Draws come from the stream `workload-class`, by session, or by request
//! where the workload knows no sessions: the same requests are drawn whatever the policy.

use crate::inputs::{InputError, Requests};
use conductor_core::config::{PolicyConfig, class_named};
use conductor_core::ids::ClassId;
use conductor_core::rng::Stream;

/// Shares of requests by name of class; who is drawn for none belongs to the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassShares {
    shares: Vec<(String, f64)>,
}

impl ClassShares {
    /// Sets the share of a class.
    ///
    /// # Errors
    /// If it is no share, or all together are more than one.
    pub fn set(&mut self, name: &str, share: f64) -> Result<(), InputError> {
        let wrong = |found: f64| InputError::Range {
            what: "classes",
            expected: "shares from 0 to 1 that are at most 1 together",
            found: format!("{name} = {found}"),
        };
        if !(0.0..=1.0).contains(&share) {
            return Err(wrong(share));
        }
        match self.shares.iter_mut().find(|entry| entry.0 == name) {
            Some(entry) => entry.1 = share,
            None => self.shares.push((name.to_string(), share)),
        }
        let sum: f64 = self.shares.iter().map(|entry| entry.1).sum();
        if sum > 1.0 + 1e-9 {
            return Err(wrong(sum));
        }
        Ok(())
    }

    /// Parses `batch=0.3,agent=0.2`.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        let mut shares = Self::default();
        for part in text.split(',') {
            let wrong = || InputError::Range {
                what: "classes",
                expected: "names and shares, as in batch=0.3,agent=0.2",
                found: part.to_string(),
            };
            let (name, share) = part.split_once('=').ok_or_else(wrong)?;
            shares.set(name.trim(), share.trim().parse().map_err(|_| wrong())?)?;
        }
        Ok(shares)
    }

    /// Gives each request its class.
    ///
    /// # Errors
    /// If the policy has no class of a name.
    pub(crate) fn assign(
        &self,
        rows: Requests,
        policy: &PolicyConfig,
        seed: u64,
    ) -> Result<Requests, InputError> {
        if self.shares.is_empty() {
            return Ok(rows);
        }
        let mut up_to = 0.0;
        let mut bounds: Vec<(u64, ClassId)> = Vec::with_capacity(self.shares.len());
        for (name, share) in &self.shares {
            up_to += share;
            let class = class_named(&policy.classes, name).map_err(InputError::Name)?;
            bounds.push(((up_to * 1e9) as u64, class));
        }
        let stream = Stream::new(seed, "workload-class");
        Ok(Box::new(rows.enumerate().map(move |(number, row)| {
            let mut row = row?;
            let key = row.workflow.map_or(number as u64, |session| session.0);
            let point = stream.below(key, 1_000_000_000);
            let drawn = bounds.iter().find(|(bound, _)| point < *bound);
            row.class = drawn.map_or_else(ClassId::default, |entry| entry.1);
            Ok(row)
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::WorkloadInput;
    use std::collections::BTreeMap;

    #[test]
    fn shares_are_of_requests_and_sessions_stay_together() {
        let policy = PolicyConfig::parse(
            "[[classes]]\nname = \"chat\"\n[[classes]]\nname = \"batch\"\ncompletion_s = 600\n",
        )
        .expect("two classes");
        let mut input = WorkloadInput::workload("kimi-conversation").expect("built in");
        input.requests = Some(4_000);
        let shares = ClassShares::parse("batch = 0.3").expect("a share");
        let rows = shares.assign(input.open().expect("opens"), &policy, 1);
        let rows: Vec<_> = rows.expect("known").map(|row| row.expect("good")).collect();
        let batch = rows.iter().filter(|row| row.class == ClassId(1)).count();
        assert!((1_000..1_400).contains(&batch), "{batch} of 4000");
        let mut of_session = BTreeMap::new();
        for row in &rows {
            let session = row.workflow.expect("the generator knows its sessions");
            assert_eq!(*of_session.entry(session).or_insert(row.class), row.class);
        }
        let unknown = ClassShares::parse("jobs=0.1").expect("a share");
        let error = unknown
            .assign(input.open().expect("opens"), &policy, 1)
            .err();
        assert!(
            error
                .expect("unknown")
                .to_string()
                .contains("no class \"jobs\"")
        );
        for bad in ["batch", "batch=2", "a=0.6,b=0.6", "batch=nan"] {
            assert!(ClassShares::parse(bad).is_err(), "{bad}");
        }
    }
}

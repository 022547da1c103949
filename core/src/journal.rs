//! The journal: every event, its time and its orders, so that a run can be decided again.
//!
//! A journal is JSON lines: a header with all that decisions depend on (policy, cluster, profiles of the *estimate*,
//! seed), one step a line, and an end with the digest. Auditing feeds the recorded events to a fresh Conductor and
//! compares its orders with the recorded ones: this proves that no decision had a hidden input, and that what was
//! validated in the lab is what runs.
//!
//! This module works on byte slices; files are the callers'.

mod audit;

pub use audit::{AuditError, AuditReport, Auditor, Divergence};

use crate::action::Action;
use crate::config::{ClusterConfig, ClusterText, PolicyConfig, PolicyText, ProfileText};
use crate::digest::Digest;
use crate::event::Event;
use crate::units::Nanos;
use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Version of the journal's form.
pub const SCHEMA: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of the form, see [`SCHEMA`].
    pub schema: u32,
    /// Version of the core that decided.
    pub version: String,
    /// Who drove it ("sim", "runtime"); outside the digest.
    pub driver: String,
    /// Seed of random policies.
    pub seed: u64,
    /// The policy, with every parameter.
    pub policy: PolicyText,
    /// The cluster.
    pub cluster: ClusterText,
    /// The profiles that the cluster names, which the estimates come from.
    pub profiles: Vec<ProfileText>,
}

/// A line after the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line<'a> {
    /// One event and what was decided.
    #[serde(borrow)]
    Step(Step<'a>),
    /// The last line.
    End(End),
}

/// One event and what was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step<'a> {
    /// Counted from 0.
    pub step: u64,
    /// When the Conductor learned of it.
    pub now: Nanos,
    /// What happened.
    pub event: Event<'a>,
    /// What was ordered.
    pub actions: Cow<'a, [Action]>,
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// How many steps there are.
    pub steps: u64,
    /// Digest of header and steps.
    pub digest: String,
}

impl Header {
    /// The header of a run.
    #[must_use]
    pub fn new(driver: &str, policy: &PolicyConfig, cluster: &ClusterConfig, seed: u64) -> Self {
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_string(),
            driver: driver.to_string(),
            seed,
            policy: policy.to_text(),
            cluster: cluster.text().clone(),
            profiles: cluster.profile_texts(),
        }
    }

    /// The line, without its end.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("a header is plain structs, numbers and strings")
    }

    /// Digest of what decisions depend on: neither driver nor version.
    fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        let decided_by = (
            self.schema,
            self.seed,
            &self.policy,
            &self.cluster,
            &self.profiles,
        );
        digest
            .text(&serde_json::to_string(&decided_by).expect("plain structs, numbers and strings"));
        digest
    }
}

/// Keeps a run's digest.
#[derive(Clone, Copy, Debug)]
pub struct Recorder {
    digest: Digest,
    steps: u64,
}

impl Recorder {
    /// A recorder for a run with this header.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        Self {
            digest: header.digest(),
            steps: 0,
        }
    }

    /// Mixes a step in; returns its number.
    pub fn record(&mut self, now: Nanos, event: &Event<'_>, actions: &[Action]) -> u64 {
        self.digest.word(now.0);
        event.digest(&mut self.digest);
        self.digest.word(actions.len() as u64);
        for action in actions {
            action.digest(&mut self.digest);
        }
        self.steps += 1;
        self.steps - 1
    }

    /// Steps so far.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// Digest so far.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The last line.
    #[must_use]
    pub fn end(&self) -> End {
        End {
            steps: self.steps,
            digest: self.digest.to_string(),
        }
    }
}

/// A step's line, without its end.
#[must_use]
pub fn encode_step(step: u64, now: Nanos, event: &Event<'_>, actions: &[Action]) -> String {
    let step = Step {
        step,
        now,
        event: event.clone(),
        actions: actions.into(),
    };
    serde_json::to_string(&step).expect("a step is plain enums and numbers")
}

/// The last line, without its end.
#[must_use]
pub fn encode_end(end: &End) -> String {
    serde_json::to_string(end).expect("an end is a number and a string")
}

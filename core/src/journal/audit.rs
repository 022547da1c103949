//! Deciding a journal again.

use super::{Header, Line, Recorder, SCHEMA};
use crate::action::{Action, Actions};
use crate::conductor::Conductor;
use crate::config::{ClusterConfig, ConfigError, PolicyConfig, Profile};
use crate::units::Nanos;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// Feeds a journal's lines to a fresh Conductor.
pub struct Auditor {
    conductor: Conductor,
    recorder: Recorder,
    actions: Actions,
    line: usize,
    last: Nanos,
    ended: bool,
}

/// The first step at which the decisions part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Which step.
    pub step: u64,
    /// The orders in the journal.
    pub recorded: Vec<Action>,
    /// The orders decided now.
    pub replayed: Vec<Action>,
}

/// Why a journal is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditError {
    /// A line is not what it should be.
    Malformed {
        /// Line in the journal, from 1.
        line: usize,
        /// What was expected.
        message: String,
    },
    /// The decisions are not the recorded ones.
    Diverged(Box<Divergence>),
    /// All decisions agree, but the digest is not the recorded one: the events were altered, or the header.
    Digest {
        /// In the journal.
        recorded: String,
        /// Now.
        replayed: String,
    },
}

/// What was audited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// Steps that agree.
    pub steps: u64,
    /// Digest of what was audited.
    pub digest: String,
    /// False if the journal stops without its last line: the run was cut off.
    pub complete: bool,
}

impl Auditor {
    /// From a journal's first line; `policy` in place of the recorded one, if any.
    ///
    /// # Errors
    /// If the line is not a header that this version understands.
    pub fn new(first_line: &[u8], policy: Option<PolicyConfig>) -> Result<Self, AuditError> {
        let malformed = |message: String| AuditError::Malformed { line: 1, message };
        let header: Header = serde_json::from_slice(first_line)
            .map_err(|error| malformed(json_message("a journal header", &error)))?;
        if header.schema != SCHEMA {
            return Err(malformed(alloc::format!(
                "schema {} is not understood, expected {SCHEMA}",
                header.schema
            )));
        }
        let configured = |error: ConfigError| malformed(error.to_string());
        let profiles = header
            .profiles
            .iter()
            .cloned()
            .map(Profile::from_text)
            .collect::<Result<Vec<_>, _>>();
        let cluster =
            ClusterConfig::from_text(header.cluster.clone(), &profiles.map_err(configured)?)
                .map_err(configured)?;
        let policy = match policy {
            Some(policy) => policy,
            None => PolicyConfig::from_text(&header.policy).map_err(configured)?,
        };
        let estimate = cluster.estimate();
        Ok(Self {
            recorder: Recorder::new(&header),
            conductor: Conductor::new(cluster, policy, estimate, header.seed),
            actions: Actions::default(),
            line: 1,
            last: Nanos::ZERO,
            ended: false,
        })
    }

    /// The next line.
    ///
    /// # Errors
    /// At the first line that is malformed or decided differently.
    pub fn line(&mut self, bytes: &[u8]) -> Result<(), AuditError> {
        self.line += 1;
        let malformed = |message: String| AuditError::Malformed {
            line: self.line,
            message,
        };
        if self.ended {
            return Err(malformed("expected nothing after the end".to_string()));
        }
        let line: Line<'_> = serde_json::from_slice(bytes)
            .map_err(|error| malformed(json_message("a step or the end", &error)))?;
        let step = match line {
            Line::Step(step) => step,
            Line::End(end) => {
                self.ended = true;
                let replayed = self.recorder.end();
                if end.steps != replayed.steps {
                    return Err(malformed(alloc::format!(
                        "expected {} steps, found {}",
                        end.steps,
                        replayed.steps
                    )));
                }
                if end.digest != replayed.digest {
                    return Err(AuditError::Digest {
                        recorded: end.digest,
                        replayed: replayed.digest,
                    });
                }
                return Ok(());
            }
        };
        if step.step != self.recorder.steps() {
            return Err(malformed(alloc::format!(
                "expected step {}, found {}",
                self.recorder.steps(),
                step.step
            )));
        }
        if step.now < self.last {
            return Err(malformed(alloc::format!(
                "time goes back from {} to {}",
                self.last,
                step.now
            )));
        }
        self.last = step.now;
        self.actions.clear();
        self.conductor
            .handle(step.now, &step.event, &mut self.actions);
        if self.actions.as_slice() != &*step.actions {
            return Err(AuditError::Diverged(Box::new(Divergence {
                step: step.step,
                recorded: step.actions.into_owned(),
                replayed: self.actions.as_slice().to_vec(),
            })));
        }
        self.recorder.record(step.now, &step.event, &step.actions);
        Ok(())
    }

    /// All lines were given.
    #[must_use]
    pub fn finish(self) -> AuditReport {
        AuditReport {
            steps: self.recorder.steps(),
            digest: self.recorder.digest().to_string(),
            complete: self.ended,
        }
    }
}

fn json_message(expected: &str, error: &serde_json::Error) -> String {
    alloc::format!("expected {expected}: {error}")
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { line, message } => write!(f, "line {line}: {message}"),
            Self::Diverged(divergence) => {
                let Divergence {
                    step,
                    recorded,
                    replayed,
                } = &**divergence;
                write!(
                    f,
                    "divergence at step {step}\n  recorded: {recorded:?}\n  replayed: {replayed:?}"
                )
            }
            Self::Digest { recorded, replayed } => {
                write!(
                    f,
                    "all decisions agree, but the digest does not\n  recorded: {recorded}\n  replayed: {replayed}"
                )
            }
        }
    }
}

impl core::error::Error for AuditError {}

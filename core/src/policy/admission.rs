//! Who is turned away at arrival.

use crate::action::RejectReason;
use crate::config::{AdmissionConfig, Slo};
use crate::units::Nanos;
use alloc::boxed::Box;

/// Decides whether a request that could be placed shall be.
pub trait AdmissionPolicy: Send {
    /// `Ok` to take it, or why not.
    ///
    /// # Errors
    /// The reason of the rejection.
    fn admit(&self, cx: &AdmissionContext) -> Result<(), RejectReason>;
}

/// What an admission policy may look at.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionContext {
    /// Predicted time to first token on the chosen prefill node.
    pub ttft: Nanos,
    /// The limits.
    pub slo: Slo,
}

/// Everybody who can be served at all.
#[derive(Clone, Copy, Debug)]
pub struct AdmitAll;

impl AdmissionPolicy for AdmitAll {
    fn admit(&self, _cx: &AdmissionContext) -> Result<(), RejectReason> {
        Ok(())
    }
}

/// The policy that the file names.
#[must_use]
pub fn build(config: AdmissionConfig) -> Box<dyn AdmissionPolicy> {
    match config {
        AdmissionConfig::None => Box::new(AdmitAll),
    }
}

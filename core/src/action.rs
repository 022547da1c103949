//! Actions: orders that the Conductor gives its driver, in the imperative.
//!
//! A driver carries them out in the order given and decides nothing itself.

use crate::config::Role;
use crate::digest::Digest;
use crate::ids::{NodeId, RequestId, Ticket};
use crate::units::Nanos;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Copy blocks `first .. first + count` of the request's prompt from one prefill node's cache to another's, where
    /// they stay: the copy of a hot prefix. Precedes the `Dispatch` that waits for it.
    Replicate {
        /// For whom.
        ticket: Ticket,
        /// The node that has them.
        from: NodeId,
        /// The node that gets them.
        to: NodeId,
        /// First block of the prompt to copy.
        first: u32,
        /// How many.
        count: u32,
    },
    /// Queue the request at a prefill node, and stream its KV to a decode node while it is computed.
    Dispatch {
        /// Whose.
        ticket: Ticket,
        /// Where the prompt is computed.
        prefill: NodeId,
        /// Where the answer is made.
        decode: NodeId,
        /// Leading blocks that the node is expected to reuse, those that are being replicated included.
        reuse: u32,
        /// Predicted time from now to the first token.
        ttft: Nanos,
    },
    /// Turn the request away.
    Reject {
        /// Which.
        request: RequestId,
        /// Why.
        reason: RejectReason,
        /// When trying again may help, from now.
        retry_after: Nanos,
    },
    /// Stop all work for an attempt, wherever it is; free what it holds.
    Abort {
        /// Whose.
        ticket: Ticket,
    },
    /// The attempt is lost: give the request in again, with the next attempt number. If it is then turned away for a
    /// passing reason it comes again with the same one, for that attempt was never made.
    Resubmit {
        /// The lost attempt.
        ticket: Ticket,
    },
    /// Give the node another role; it has no work. What it cached is not needed any more, and nothing needs to be said
    /// of it: the fact to report is `RoleChanged`.
    SwitchRole {
        /// Which.
        node: NodeId,
        /// What it shall do.
        to: Role,
    },
}

/// Why a request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RejectReason {
    /// No prefill node is up.
    NoPrefillNode,
    /// No decode node is up that can hold it.
    NoDecodeNode,
    /// The prompt is larger than any decode node's HBM, or than [`crate::cost::PROMPT_MAX`].
    PromptTooLong,
    /// The configured number of requests is in the system.
    TooManyRequests,
    /// The predicted time to first token is above its limit.
    PrefillLoad,
    /// The decode load is, or will be, above its limit.
    DecodeLoad,
    /// The decode node could not take it after its prefill.
    DecodeFull,
    /// Its workflow, or its job, can no longer be done in time.
    TooLate,
    /// Every attempt was lost, as many as the policy allows.
    TooManyAttempts,
}

impl RejectReason {
    /// True if giving the request in again cannot help. Of others who was taken in waits for better times.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::PromptTooLong | Self::TooLate | Self::DecodeFull | Self::TooManyAttempts
        )
    }

    /// The words of reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoPrefillNode => "no-prefill-node",
            Self::NoDecodeNode => "no-decode-node",
            Self::PromptTooLong => "prompt-too-long",
            Self::TooManyRequests => "too-many-requests",
            Self::PrefillLoad => "prefill-load",
            Self::DecodeLoad => "decode-load",
            Self::DecodeFull => "rejected-after-prefill",
            Self::TooLate => "too-late",
            Self::TooManyAttempts => "too-many-attempts",
        }
    }
}

impl Action {
    /// Mixes the action into a journal's digest, field by field in the order of declaration.
    pub fn digest(&self, digest: &mut Digest) {
        match *self {
            Self::Replicate {
                ticket,
                from,
                to,
                first,
                count,
            } => {
                digest
                    .word(1)
                    .ticket(ticket)
                    .word(u64::from(from.0))
                    .word(u64::from(to.0));
                digest.word(u64::from(first)).word(u64::from(count));
            }
            Self::Dispatch {
                ticket,
                prefill,
                decode,
                reuse,
                ttft,
            } => {
                digest
                    .word(2)
                    .ticket(ticket)
                    .word(u64::from(prefill.0))
                    .word(u64::from(decode.0));
                digest.word(u64::from(reuse)).word(ttft.0);
            }
            Self::Reject {
                request,
                reason,
                retry_after,
            } => {
                digest
                    .word(3)
                    .word(request.0)
                    .word(reason as u64)
                    .word(retry_after.0);
            }
            Self::Abort { ticket } => {
                digest.word(4).ticket(ticket);
            }
            Self::Resubmit { ticket } => {
                digest.word(5).ticket(ticket);
            }
            Self::SwitchRole { node, to } => {
                digest.word(6).word(u64::from(node.0)).word(to as u64);
            }
        }
    }
}

/// An action that a Conductor has decided. Nobody else can make one, so that who carries out orders and takes this type
/// cannot carry out what was not decided here:
///
/// ```compile_fail
/// use conductor_core::action::{Action, Order};
/// use conductor_core::config::Role;
/// use conductor_core::ids::NodeId;
/// let forged = Order(Action::SwitchRole { node: NodeId(0), to: Role::Decode });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order(Action);

impl Order {
    /// What was ordered.
    #[must_use]
    pub const fn action(&self) -> Action {
        self.0
    }
}

/// The outbox of one event: filled by the core, emptied by the driver, and used again.
#[derive(Clone, Debug, Default)]
pub struct Actions(Vec<Action>);

impl Actions {
    /// An outbox with room for `capacity` actions.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// What was ordered, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Action] {
        &self.0
    }

    /// The same as orders to carry out.
    pub fn orders(&self) -> impl Iterator<Item = Order> + '_ {
        self.0.iter().map(|&action| Order(action))
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn push(&mut self, action: Action) {
        self.0.push(action);
    }
}

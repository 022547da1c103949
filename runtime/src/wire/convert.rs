//! Between what is said inside and what goes over the wire.
//!
//! Outward it cannot fail. Inward everything is checked, because the other side may be another version of this program
//! or not this program at all; what is refused is named.

use super::messages::{self as wire, FactKind, OrderKind};
use crate::protocol::{EndReason, Fetch, FromNode, Prompt, Sampling, Space, ToNode};
use conductor_core::config::Role;
use conductor_core::ids::{BlockHash, NodeId, RequestId, Ticket};
use conductor_core::units::Tokens;
use std::sync::Arc;

/// A message that no version of this program sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message is not understood: {0}")]
pub struct Malformed(pub &'static str);

/// An attempt.
#[must_use]
pub const fn attempt(ticket: Ticket) -> wire::Attempt {
    wire::Attempt {
        request: ticket.request.0,
        attempt: ticket.attempt,
    }
}

/// Back from [`attempt`].
///
/// # Errors
/// If there is none.
pub fn ticket(attempt: Option<wire::Attempt>) -> Result<Ticket, Malformed> {
    let attempt = attempt.ok_or(Malformed("no attempt is named"))?;
    Ok(Ticket {
        request: RequestId(attempt.request),
        attempt: attempt.attempt,
    })
}

/// A role as a number.
#[must_use]
pub const fn role(role: Role) -> u32 {
    match role {
        Role::Prefill => 1,
        Role::Decode => 2,
        Role::Coupled => 3,
    }
}

/// Back from [`role`].
///
/// # Errors
/// If it is none.
pub const fn role_of(number: u32) -> Result<Role, Malformed> {
    match number {
        1 => Ok(Role::Prefill),
        2 => Ok(Role::Decode),
        3 => Ok(Role::Coupled),
        _ => Err(Malformed("no such role")),
    }
}

/// A node by its number.
///
/// # Errors
/// If no node has such a number.
pub fn node(number: u32) -> Result<NodeId, Malformed> {
    u16::try_from(number)
        .map(NodeId)
        .map_err(|_| Malformed("no such node"))
}

fn prompt(prompt: &Prompt) -> wire::Prompt {
    wire::Prompt {
        input: prompt.input.0,
        tokens: prompt.tokens.to_vec(),
        blocks: words(&prompt.blocks),
        output_max: prompt.output_max.0,
        temperature: prompt.sampling.temperature,
        seed: prompt.sampling.seed,
        ignore_end: prompt.sampling.ignore_end,
    }
}

fn prompt_of(prompt: Option<wire::Prompt>) -> Result<Arc<Prompt>, Malformed> {
    let prompt = prompt.ok_or(Malformed("no prompt is given"))?;
    // Far above any model, far below where sums of lengths overflow.
    const TOKENS_MAX: u64 = u32::MAX as u64;
    let lengths = [prompt.input, prompt.output_max];
    if !lengths
        .iter()
        .all(|length| (1..=TOKENS_MAX).contains(length))
    {
        return Err(Malformed(
            "a prompt or an answer of no tokens, or of too many",
        ));
    }
    if !prompt.tokens.is_empty() && prompt.tokens.len() as u64 != prompt.input {
        return Err(Malformed("a prompt has another length than its tokens"));
    }
    if prompt.blocks.len() as u64 > prompt.input {
        return Err(Malformed("a prompt has more blocks than tokens"));
    }
    Ok(Arc::new(Prompt {
        input: Tokens(prompt.input),
        tokens: prompt.tokens.into(),
        blocks: hashes(prompt.blocks).into(),
        space: Space::default(),
        output_max: Tokens(prompt.output_max),
        sampling: Sampling {
            temperature: prompt.temperature,
            seed: prompt.seed,
            ignore_end: prompt.ignore_end,
        },
    }))
}

/// Hashes as words.
#[must_use]
pub fn words(hashes: &[BlockHash]) -> Vec<u64> {
    hashes.iter().map(|hash| hash.0).collect()
}

/// Back from [`words`].
#[must_use]
pub fn hashes(words: Vec<u64>) -> Vec<BlockHash> {
    words.into_iter().map(BlockHash).collect()
}

/// To a node.
#[must_use]
pub fn order(message: &ToNode) -> wire::Order {
    let of = |kind: OrderKind, ticket: Option<Ticket>| wire::Order {
        kind: kind.into(),
        attempt: ticket.map(attempt),
        ..wire::Order::default()
    };
    match message {
        ToNode::Fetch {
            ticket,
            prompt: what,
            fetch,
        } => wire::Order {
            prompt: Some(prompt(what)),
            other: u32::from(fetch.from.0),
            first: fetch.first,
            count: fetch.count,
            ..of(OrderKind::Fetch, Some(*ticket))
        },
        ToNode::Prefill {
            ticket,
            prompt: what,
            decode,
            awaits_copy,
        } => wire::Order {
            prompt: Some(prompt(what)),
            other: u32::from(decode.0),
            awaits_copy: *awaits_copy,
            ..of(OrderKind::Prefill, Some(*ticket))
        },
        ToNode::Decode {
            ticket,
            prompt: what,
            prefill,
        } => wire::Order {
            prompt: Some(prompt(what)),
            other: u32::from(prefill.0),
            ..of(OrderKind::Decode, Some(*ticket))
        },
        ToNode::Abort { ticket } => of(OrderKind::Abort, Some(*ticket)),
        ToNode::Stop { ticket } => of(OrderKind::Stop, Some(*ticket)),
        ToNode::SwitchRole(to) => wire::Order {
            role: role(*to),
            ..of(OrderKind::SwitchRole, None)
        },
        ToNode::ReportCache => of(OrderKind::ReportCache, None),
    }
}

/// Back from [`order`].
///
/// # Errors
/// If it is none.
pub fn order_of(order: wire::Order) -> Result<ToNode, Malformed> {
    let whose = || ticket(order.attempt);
    match order.kind() {
        OrderKind::None => Err(Malformed("an order of no kind")),
        OrderKind::Fetch => {
            let (ticket, from) = (whose()?, node(order.other)?);
            let (first, count) = (order.first, order.count);
            let prompt = prompt_of(order.prompt)?;
            let end = first.checked_add(count);
            if end.is_none_or(|end| end as usize > prompt.blocks.len()) {
                return Err(Malformed(
                    "blocks are to be fetched that the prompt does not have",
                ));
            }
            let fetch = Fetch { from, first, count };
            Ok(ToNode::Fetch {
                ticket,
                prompt,
                fetch,
            })
        }
        OrderKind::Prefill => Ok(ToNode::Prefill {
            ticket: whose()?,
            decode: node(order.other)?,
            awaits_copy: order.awaits_copy,
            prompt: prompt_of(order.prompt)?,
        }),
        OrderKind::Decode => Ok(ToNode::Decode {
            ticket: whose()?,
            prefill: node(order.other)?,
            prompt: prompt_of(order.prompt)?,
        }),
        OrderKind::Abort => Ok(ToNode::Abort { ticket: whose()? }),
        OrderKind::Stop => Ok(ToNode::Stop { ticket: whose()? }),
        OrderKind::SwitchRole => Ok(ToNode::SwitchRole(role_of(order.role)?)),
        OrderKind::ReportCache => Ok(ToNode::ReportCache),
    }
}

/// From a node.
#[must_use]
pub fn fact(message: FromNode) -> wire::Fact {
    let of = |kind: FactKind, ticket: Option<Ticket>| wire::Fact {
        kind: kind.into(),
        attempt: ticket.map(attempt),
        ..wire::Fact::default()
    };
    match message {
        FromNode::Started { ticket, cached } => wire::Fact {
            number: cached.0,
            ..of(FactKind::Started, Some(ticket))
        },
        FromNode::FirstToken { ticket, token } => wire::Fact {
            word: token,
            ..of(FactKind::FirstToken, Some(ticket))
        },
        FromNode::Received { ticket } => of(FactKind::Received, Some(ticket)),
        FromNode::Token {
            ticket,
            position,
            token,
        } => wire::Fact {
            number: position,
            word: token,
            ..of(FactKind::Token, Some(ticket))
        },
        FromNode::Ended {
            ticket,
            output,
            reason,
        } => wire::Fact {
            number: output.0,
            word: match reason {
                EndReason::Stop => 1,
                EndReason::Length => 2,
            },
            ..of(FactKind::Ended, Some(ticket))
        },
        FromNode::Refused { ticket } => of(FactKind::Refused, Some(ticket)),
        FromNode::Failed { ticket, why } => wire::Fact {
            why,
            ..of(FactKind::Failed, Some(ticket))
        },
        FromNode::Cache {
            report,
            evicted,
            stored,
        } => wire::Fact {
            number: report,
            evicted: words(&evicted),
            blocks: words(&stored),
            ..of(FactKind::Cache, None)
        },
        FromNode::WholeCache { report, blocks } => wire::Fact {
            number: report,
            blocks: words(&blocks),
            ..of(FactKind::WholeCache, None)
        },
        FromNode::RoleChanged(to) => wire::Fact {
            word: role(to),
            ..of(FactKind::RoleChanged, None)
        },
    }
}

/// Back from [`fact`].
///
/// # Errors
/// If it is none.
pub fn fact_of(fact: wire::Fact) -> Result<FromNode, Malformed> {
    let whose = || ticket(fact.attempt);
    match fact.kind() {
        FactKind::None => Err(Malformed("a fact of no kind")),
        FactKind::Started => Ok(FromNode::Started {
            ticket: whose()?,
            cached: Tokens(fact.number),
        }),
        FactKind::FirstToken => Ok(FromNode::FirstToken {
            ticket: whose()?,
            token: fact.word,
        }),
        FactKind::Received => Ok(FromNode::Received { ticket: whose()? }),
        FactKind::Token => Ok(FromNode::Token {
            ticket: whose()?,
            position: fact.number,
            token: fact.word,
        }),
        FactKind::Ended => Ok(FromNode::Ended {
            ticket: whose()?,
            output: Tokens(fact.number),
            reason: match fact.word {
                1 => EndReason::Stop,
                2 => EndReason::Length,
                _ => return Err(Malformed("no such reason to end")),
            },
        }),
        FactKind::Refused => Ok(FromNode::Refused { ticket: whose()? }),
        FactKind::Failed => Ok(FromNode::Failed {
            ticket: whose()?,
            why: fact.why,
        }),
        FactKind::Cache => Ok(FromNode::Cache {
            report: fact.number,
            evicted: hashes(fact.evicted),
            stored: hashes(fact.blocks),
        }),
        FactKind::WholeCache => Ok(FromNode::WholeCache {
            report: fact.number,
            blocks: hashes(fact.blocks),
        }),
        FactKind::RoleChanged => Ok(FromNode::RoleChanged(role_of(fact.word)?)),
    }
}

#[cfg(test)]
mod tests;

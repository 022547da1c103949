//! The agent of a prefill node: a queue, copies of blocks that requests wait for, one prompt computed at a time, KV on
//! its way to decode nodes.

use super::say::{self, Reports};
use super::{Output, Outputs};
use crate::protocol::{EndReason, Fetch, FromNode, Prompt};
use conductor_core::cache::BlockSlot;
use conductor_core::config::{Evictions, NodeSpec};
use conductor_core::ids::{BlockHash, NodeId, Ticket};
use conductor_core::node::{CacheChanges, JobId, PrefillQueue, PrefillRun};
use conductor_core::units::Tokens;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Blocks on their way from another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    /// None are needed, or they are here.
    Nothing,
    /// On their way.
    Coming,
    /// They came before the request did.
    Early { first: u32, count: u32 },
}

struct Job {
    prompt: Arc<Prompt>,
    decode: NodeId,
    /// In the queue, once it was ordered.
    id: Option<JobId>,
    copy: Copy,
}

/// What is being computed.
struct Running {
    ticket: Ticket,
    job: JobId,
    /// Its attempt has been given up: it is computed to its end for nobody.
    in_vain: bool,
    /// The Conductor that ordered it has gone: nothing is said of it.
    silent: bool,
}

/// Blocks that are pinned for another node; give it back with [`PrefillAgent::unpin`].
#[derive(Debug)]
pub struct Pins(Vec<BlockSlot>);

impl Pins {
    /// How many leading blocks are here.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.0.len() as u32
    }

    /// True if none are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// See the module.
pub struct PrefillAgent {
    queue: PrefillQueue,
    jobs: BTreeMap<Ticket, Job>,
    running: Option<Running>,
    changes: CacheChanges,
    reports: Reports,
}

impl PrefillAgent {
    /// An idle node with an empty cache.
    #[must_use]
    pub fn new(block: Tokens, spec: &NodeSpec, evictions: Evictions) -> Self {
        Self {
            queue: PrefillQueue::new(block, spec, evictions),
            jobs: BTreeMap::new(),
            running: None,
            changes: CacheChanges::default(),
            reports: Reports::default(),
        }
    }

    /// The Conductor orders a copy of blocks for a request that will come.
    pub fn fetch(
        &mut self,
        ticket: Ticket,
        prompt: &Arc<Prompt>,
        fetch: &Fetch,
        out: &mut Outputs,
    ) {
        let range = fetch.first as usize..(fetch.first + fetch.count) as usize;
        let Some(blocks) = prompt.blocks.get(range) else {
            return;
        };
        self.jobs.insert(
            ticket,
            Job {
                prompt: Arc::clone(prompt),
                decode: NodeId(0),
                id: None,
                copy: Copy::Coming,
            },
        );
        out.push(Output::Get {
            ticket,
            from: fetch.from,
            first: fetch.first,
            blocks: blocks.to_vec(),
        });
    }

    /// The Conductor orders a prompt to be computed.
    pub fn prefill(
        &mut self,
        ticket: Ticket,
        prompt: &Arc<Prompt>,
        decode: NodeId,
        out: &mut Outputs,
    ) {
        let copy = self.jobs.get(&ticket).map_or(Copy::Nothing, |job| job.copy);
        let awaits = copy != Copy::Nothing;
        let id = self
            .queue
            .enqueue(ticket, prompt.input, &prompt.blocks, awaits);
        self.jobs.insert(
            ticket,
            Job {
                prompt: Arc::clone(prompt),
                decode,
                id: Some(id),
                copy,
            },
        );
        if let Copy::Early { first, count } = copy {
            self.keep(ticket, first, count, out);
        }
        self.start(out);
    }

    /// A copy has come: of the blocks from `first` on, `count`; none if it failed.
    pub fn copy_arrived(&mut self, ticket: Ticket, first: u32, count: u32, out: &mut Outputs) {
        let Some(job) = self.jobs.get_mut(&ticket) else {
            return;
        };
        if job.copy != Copy::Coming {
            return;
        }
        if job.id.is_none() {
            job.copy = match count {
                0 => Copy::Nothing,
                _ => Copy::Early { first, count },
            };
            return;
        }
        self.keep(ticket, first, count, out);
        self.start(out);
    }

    /// Copied blocks go into the cache.
    fn keep(&mut self, ticket: Ticket, first: u32, count: u32, out: &mut Outputs) {
        let Some(job) = self.jobs.get_mut(&ticket) else {
            return;
        };
        job.copy = Copy::Nothing;
        if let Some(id) = job.id {
            self.changes.clear();
            self.queue.copy_arrived(id, first, count, &mut self.changes);
            self.say_changes(out);
        }
    }

    /// Pins the leading ones of `blocks` that are here, for another node that copies them.
    pub fn pin(&mut self, blocks: &[BlockHash]) -> Pins {
        let mut pins = Vec::new();
        self.queue.pin_copy(blocks, &mut pins);
        Pins(pins)
    }

    /// The other node has copied them, or gives up.
    pub fn unpin(&mut self, pins: &Pins) {
        self.queue.unpin_copy(&pins.0);
    }

    /// What is computed is computed; `token` is the first of the answer, `last` if there is no other.
    pub fn computed(&mut self, token: u32, last: Option<EndReason>, out: &mut Outputs) {
        let Some(Running {
            ticket,
            job,
            in_vain,
            silent,
        }) = self.running.take()
        else {
            return;
        };
        self.changes.clear();
        let finished = self.queue.finish(&mut self.changes);
        debug_assert_eq!(finished, job, "one at a time");
        self.say_changes(out);
        if !silent {
            out.push(Output::Say(FromNode::FirstToken { ticket, token }));
        }
        if in_vain {
            self.queue.release(job);
        } else if let Some(reason) = last {
            out.push(Output::EndSend { ticket });
            self.queue.release(job);
            self.jobs.remove(&ticket);
            say::ended(ticket, Tokens(1), reason, out);
        } else {
            out.push(Output::SendRest { ticket });
        }
        self.start(out);
    }

    /// What is computed could not be: the attempt has failed, unless it was given up before.
    pub fn not_computed(&mut self, why: String, out: &mut Outputs) {
        let Some(running) = self.running.take() else {
            return;
        };
        let ticket = running.ticket;
        self.queue.abandon();
        self.queue.release(running.job);
        if !running.in_vain {
            self.jobs.remove(&ticket);
            out.push(Output::EndSend { ticket });
            out.push(Output::Say(FromNode::Failed { ticket, why }));
            out.push(Output::Forget { ticket });
        }
        self.start(out);
    }

    /// All KV of a request has arrived at its decode node.
    pub fn sent(&mut self, ticket: Ticket, out: &mut Outputs) {
        if let Some(Job { id: Some(id), .. }) = self.jobs.remove(&ticket) {
            self.queue.release(id);
            out.push(Output::Forget { ticket });
        }
    }

    /// The KV of a request cannot be sent.
    pub fn send_failed(&mut self, ticket: Ticket, why: String, out: &mut Outputs) {
        if self.jobs.contains_key(&ticket) {
            out.push(Output::Say(FromNode::Failed { ticket, why }));
        }
    }

    /// The answer is long enough: its KV is not needed any more. Its decode node says that it has ended.
    pub fn stop(&mut self, ticket: Ticket, out: &mut Outputs) {
        self.abort(ticket, out);
    }

    /// The Conductor has given the attempt up.
    pub fn abort(&mut self, ticket: Ticket, out: &mut Outputs) {
        let Some(job) = self.jobs.remove(&ticket) else {
            return;
        };
        if job.copy == Copy::Coming {
            out.push(Output::EndGet { ticket });
        }
        out.push(Output::EndSend { ticket });
        let Some(id) = job.id else { return };
        match &mut self.running {
            Some(running) if running.job == id => running.in_vain = true,
            _ if self.queue.cancel(id) => {}
            _ => self.queue.release(id),
        }
        out.push(Output::Forget { ticket });
    }

    /// Says all that the cache has.
    pub fn report_cache(&mut self, out: &mut Outputs) {
        let blocks = self.queue.cache().blocks().collect();
        self.reports.whole(blocks, out);
    }

    /// The Conductor has gone: all work for it is given up; what is cached stays. Reports are counted anew.
    pub fn session_ended(&mut self, out: &mut Outputs) {
        let tickets: Vec<Ticket> = self.jobs.keys().copied().collect();
        for ticket in tickets {
            self.abort(ticket, out);
        }
        if let Some(running) = &mut self.running {
            running.silent = true;
        }
        self.reports = Reports::default();
    }

    /// The attempts that it has work for, in order.
    #[must_use]
    pub fn tickets(&self) -> Vec<Ticket> {
        self.jobs.keys().copied().collect()
    }

    /// True if it has work for the attempt.
    #[must_use]
    pub fn has(&self, ticket: Ticket) -> bool {
        self.jobs.contains_key(&ticket)
    }

    /// True if its prompt has been ordered and is not over.
    #[must_use]
    pub fn is_ordered(&self, ticket: Ticket) -> bool {
        self.jobs.get(&ticket).is_some_and(|job| job.id.is_some())
    }

    /// Where the KV of an attempt goes, and how many tokens of it.
    #[must_use]
    pub fn going_to(&self, ticket: Ticket) -> Option<(NodeId, Tokens)> {
        let job = self.jobs.get(&ticket)?;
        Some((job.decode, job.prompt.input))
    }

    /// The prompt length of an attempt.
    #[must_use]
    pub fn input_of(&self, ticket: Ticket) -> Option<Tokens> {
        self.jobs.get(&ticket).map(|job| job.prompt.input)
    }

    /// True if it has no work.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_none() && self.jobs.is_empty()
    }

    /// The machine.
    #[must_use]
    pub const fn queue(&self) -> &PrefillQueue {
        &self.queue
    }

    /// Takes the next request.
    fn start(&mut self, out: &mut Outputs) {
        if self.running.is_some() {
            return;
        }
        let Some(run) = self.queue.start() else {
            return;
        };
        let PrefillRun {
            job,
            ticket,
            cached,
            ..
        } = run;
        let place = self.jobs.get(&ticket);
        let (prompt, decode) = place
            .map(|job| (Arc::clone(&job.prompt), job.decode))
            .expect("what is queued was ordered, and what is aborted leaves the queue");
        self.running = Some(Running {
            ticket,
            job,
            in_vain: false,
            silent: false,
        });
        out.push(Output::Compute {
            run,
            prompt,
            decode,
        });
        out.push(Output::Say(FromNode::Started { ticket, cached }));
    }

    fn say_changes(&mut self, out: &mut Outputs) {
        self.reports.changes(&self.changes, out);
    }
}

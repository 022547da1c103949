//! What the gateway orders, given to the agent; and what the agent wants done, done.
//!
//! What an agent says of its cache is followed before its engine is started: room for the next step may be what it has
//! just evicted.

use super::body::{Body, Inbox};
use super::compute::Progress;
use super::fetch::fetch;
use super::kv::Holder;
use super::land::Ask;
use super::send::Unsent;
use super::step::Sequence;
use crate::agent::{Agent, Obeyed, Output, Outputs};
use crate::protocol::{FromNode, Prompt, ToNode};
use conductor_core::ids::{BlockHash, NodeId, Ticket};
use conductor_core::node::{CoupledRun, PrefillRun};
use conductor_core::units::Tokens;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;

/// What is to run.
pub(super) enum Next {
    Compute {
        run: PrefillRun,
        prompt: Arc<Prompt>,
        decode: NodeId,
    },
    Step,
    Pass(CoupledRun),
}

/// A prompt whose KV is being sent, or will be.
pub(super) struct Job {
    pub(super) holder: Holder,
    pub(super) progress: Arc<watch::Sender<Progress>>,
    /// Which transfer it is.
    pub(super) send: u64,
    /// The answer's first token, once it is made.
    pub(super) first: u32,
}

/// Blocks on their way from another node.
pub(super) struct Fetching {
    pub(super) ticket: Ticket,
    pub(super) first: u32,
    pub(super) hashes: Vec<BlockHash>,
    pub(super) holder: Holder,
    pub(super) wanted: bool,
}

impl Body {
    /// Does what the gateway orders. What this role cannot do fails; it is not a reason to stop.
    pub(super) fn obey(&mut self, order: ToNode) {
        let (now, mut out) = (self.now(), Outputs::new());
        let prompt_of = match &order {
            ToNode::Prefill { ticket, .. } => Some(*ticket),
            _ => None,
        };
        let answered = match &order {
            ToNode::Prefill { ticket, prompt, .. } | ToNode::Decode { ticket, prompt, .. } => {
                Some((*ticket, Arc::clone(prompt)))
            }
            _ => None,
        };
        match self.agent.obey(now, order, &mut out) {
            Obeyed::Done => {
                // A prefill node makes no answers.
                let here = !matches!(self.agent, Agent::Prefill(_));
                if let Some((ticket, prompt)) = answered.filter(|_| here) {
                    self.sequences.insert(ticket, Sequence::new(prompt));
                }
            }
            Obeyed::TakeRole(role) => {
                self.take_role(role);
                out.push(Output::Say(FromNode::RoleChanged(role)));
            }
            Obeyed::NotMine(ticket) => self.fail(ticket, "the node has another role".into()),
        }
        self.carry_out(out);
        if let Some(ticket) = prompt_of {
            // What came before it is cached now, as far as it is to be.
            self.let_fetched_go(ticket);
        }
    }

    /// Does what the agent wants done, in order.
    pub(super) fn carry_out(&mut self, outputs: Outputs) {
        let mut queue = VecDeque::from(outputs);
        while let Some(output) = queue.pop_front() {
            match output {
                Output::Say(fact) => {
                    match &fact {
                        FromNode::Cache {
                            evicted, stored, ..
                        } => self.kv.follow(evicted, stored),
                        FromNode::Failed { .. } => self.status.failed += 1,
                        _ => {}
                    }
                    self.facts.push(fact);
                }
                Output::Compute {
                    run,
                    prompt,
                    decode,
                } => {
                    self.next = Some(Next::Compute {
                        run,
                        prompt,
                        decode,
                    });
                }
                Output::Step(_) => self.next = Some(Next::Step),
                Output::Pass(run) => self.next = Some(Next::Pass(run)),
                Output::SendRest { ticket } => {
                    if let Some(job) = self.jobs.get(&ticket) {
                        let first = Some(job.first);
                        job.progress.send_modify(|progress| progress.first = first);
                    }
                }
                Output::EndSend { ticket } => {
                    if let Some(job) = self.jobs.get(&ticket) {
                        job.progress.send_modify(|progress| progress.ended = true);
                    }
                    self.let_fetched_go(ticket);
                }
                Output::Get {
                    ticket,
                    from,
                    first,
                    blocks,
                } => self.get(ticket, from, first, blocks, &mut queue),
                Output::EndGet { ticket } => {
                    let mut fetches = self.fetches.values_mut();
                    if let Some(fetch) = fetches.find(|fetch| fetch.ticket == ticket) {
                        fetch.wanted = false;
                    }
                }
                Output::Load { ticket, .. } => {
                    // Here KV is decoded where it has arrived: to load it is to count it as HBM's.
                    self.landings.moved_in(ticket);
                    let (now, mut more) = (self.now(), Outputs::new());
                    if let Agent::Decode(agent) = &mut self.agent {
                        agent.loaded(now, ticket, &mut more);
                    }
                    queue.extend(more);
                }
                Output::EndLoad { .. } => {}
                Output::Forget { ticket } => self.forget(ticket),
            }
        }
        self.go_on();
    }

    /// Starts what has room now.
    pub(super) fn go_on(&mut self) {
        self.start_engine();
        self.let_land();
    }

    /// Nothing of the attempt is wanted any more.
    fn forget(&mut self, ticket: Ticket) {
        if let Some(job) = self.jobs.remove(&ticket) {
            // Harmless after the last of it was sent.
            job.progress.send_modify(|progress| progress.ended = true);
            self.kv.release(job.holder);
        }
        self.let_fetched_go(ticket);
        self.end_landing(ticket);
        let sequence = self.sequences.remove(&ticket);
        if let Some(holder) = sequence.and_then(|sequence| sequence.holder) {
            self.kv.release(holder);
        }
    }

    fn let_fetched_go(&mut self, ticket: Ticket) {
        if let Some(holder) = self.fetched.remove(&ticket) {
            self.kv.release(holder);
        }
    }

    /// Copies blocks from another node, if there is room for them.
    fn get(
        &mut self,
        ticket: Ticket,
        from: NodeId,
        first: u32,
        hashes: Vec<BlockHash>,
        queue: &mut VecDeque<Output>,
    ) {
        let Some(holder) = self.kv.private(hashes.len()) else {
            let mut more = Outputs::new();
            if let Agent::Prefill(agent) = &mut self.agent {
                agent.copy_arrived(ticket, first, 0, &mut more);
            }
            queue.extend(more);
            return;
        };
        let number = self.number();
        let blocks = self.kv.blocks(&holder).to_vec();
        let (peers, inbox) = (Arc::clone(&self.parts.peers), self.parts.inbox.clone());
        let wanted = hashes.clone();
        tokio::spawn(async move {
            let count = fetch(&peers, from, &wanted, &blocks).await;
            let _ = inbox.send(Inbox::Fetched(number, count)).await;
        });
        self.fetches.insert(
            number,
            Fetching {
                ticket,
                first,
                hashes,
                holder,
                wanted: true,
            },
        );
    }

    /// A copy has ended.
    pub(super) fn copied(&mut self, number: u64, count: u32) {
        let Some(fetching) = self.fetches.remove(&number) else {
            return;
        };
        let Fetching {
            ticket,
            first,
            hashes,
            holder,
            wanted,
        } = fetching;
        if !wanted {
            self.kv.release(holder);
            self.go_on();
            return;
        }
        self.status.fetched += u64::from(count);
        self.arrived
            .extend(&self.kv.blocks(&holder)[..count as usize]);
        self.kv.complete(&holder, &hashes[..count as usize], 0);
        // They are the agent's to cache now or, if the prompt itself has not been ordered yet, when it is. What it
        // does not cache is not kept: a prompt that waits holds nothing that another one might need to go on.
        let mut out = Outputs::new();
        let mut early = false;
        if let Agent::Prefill(agent) = &mut self.agent {
            agent.copy_arrived(ticket, first, count, &mut out);
            early = agent.has(ticket) && !agent.is_ordered(ticket);
        }
        if early {
            self.fetched.insert(ticket, holder);
            self.carry_out(out);
        } else {
            self.carry_out(out);
            self.kv.release(holder);
            self.go_on();
        }
    }

    /// A transfer of KV has ended: nothing reads its blocks any more.
    pub(super) fn sent(&mut self, number: u64, result: Result<(), Unsent>) {
        let Some((ticket, holder)) = self.sends.remove(&number) else {
            return;
        };
        self.kv.release(holder);
        let is_present = self.jobs.get(&ticket).is_some_and(|job| job.send == number);
        let mut out = Outputs::new();
        if let (true, Agent::Prefill(agent)) = (is_present, &mut self.agent) {
            match result {
                Ok(()) => {
                    self.status.sent += 1;
                    agent.sent(ticket, &mut out);
                }
                Err(Unsent::Failed(why)) => {
                    self.status.unsent += 1;
                    agent.send_failed(ticket, why, &mut out);
                }
                Err(Unsent::Ended) => {}
            }
        }
        self.carry_out(out);
    }

    /// A prefill node asks where a prompt's KV shall go.
    pub(super) fn reserve(
        &mut self,
        ask: Ask,
        answer: tokio::sync::oneshot::Sender<crate::wire::messages::Landing>,
    ) {
        let shape = &self.parts.peers.shape;
        let alike =
            ask.slice_bytes == shape.slice_bytes() as u64 && ask.layers == shape.layers() as u32;
        if !alike {
            super::land::refuse(answer, "it keeps KV in another shape");
        } else if ask.epoch != self.epoch {
            super::land::refuse(answer, "the attempt is another gateway's");
        } else {
            self.land_anew(ask.ticket);
            self.landings.ask(ask, answer);
            self.let_land();
        }
    }

    /// Blocks that `tokens` tokens take.
    pub(super) fn blocks_for(&self, tokens: Tokens) -> usize {
        tokens.blocks(self.parts.cluster.block) as usize
    }
}

//! What the agent's machine has decided, as steps for the engine; and what they made, told to the agent.
//!
//! Whatever a step reads or writes is held until it is over, whoever gives it up meanwhile.

use super::body::Body;
use super::carry::{Job, Next};
use super::compute::{Progress, Work};
use super::kv::{Holder, NoTable};
use super::send::{Sending, send};
use crate::agent::{Agent, InBatch, Made, Outputs, PieceOf};
use crate::protocol::{EndReason, Prompt};
use conductor_core::ids::{NodeId, Ticket};
use conductor_core::node::{CoupledRun, PrefillRun};
use conductor_core::rng::Stream;
use conductor_core::units::Tokens;
use conductor_engine::kv::BlockId;
use conductor_engine::sampling::Sampling;
use conductor_engine::{EngineError, Phase, Piece, Step, StepOutput};
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::watch;

/// A request whose answer is made here.
pub(super) struct Sequence {
    pub(super) prompt: Arc<Prompt>,
    /// Its blocks, once it has any.
    pub(super) holder: Option<Holder>,
    /// Leading blocks that were cached.
    hits: usize,
    /// The answer so far.
    pub(super) answer: Vec<u32>,
}

impl Sequence {
    pub(super) const fn new(prompt: Arc<Prompt>) -> Self {
        Self {
            prompt,
            holder: None,
            hits: 0,
            answer: Vec::new(),
        }
    }
}

/// What the engine does.
pub(super) struct Running {
    what: What,
    holders: Vec<Holder>,
    tickets: Vec<Ticket>,
    /// Of a prompt.
    progress: Option<Arc<watch::Sender<Progress>>>,
    /// Which agent ordered it, and in which session.
    roles: u64,
    sessions: u64,
}

enum What {
    Prompt {
        prompt: Arc<Prompt>,
        hits: usize,
    },
    Batch,
    /// Whose prompts are complete with it.
    Pass(Vec<Ticket>),
}

impl Body {
    /// Starts what is to run, if nothing runs and there is room.
    pub(super) fn start_engine(&mut self) {
        while self.running.is_none() {
            match self.next.take() {
                None => return,
                Some(Next::Compute {
                    run,
                    prompt,
                    decode,
                }) => {
                    if !self.compute(run, &prompt, decode) {
                        self.next = Some(Next::Compute {
                            run,
                            prompt,
                            decode,
                        });
                        return;
                    }
                }
                Some(Next::Step) => self.step(),
                Some(Next::Pass(run)) => self.pass(run),
            }
        }
    }

    /// Begins to compute a prompt; false if there is no room yet.
    fn compute(&mut self, run: PrefillRun, prompt: &Arc<Prompt>, decode: NodeId) -> bool {
        let (ticket, count) = (run.ticket, self.blocks_for(run.input));
        let hits = (run.hit_blocks as usize).min(count);
        let wanted = matches!(&self.agent, Agent::Prefill(agent) if agent.has(ticket));
        let table = match wanted {
            true => self.kv.prompt(&prompt.blocks, hits, count),
            false => Err(NoTable::Missing),
        };
        let holder = match table {
            Ok(holder) => holder,
            Err(NoTable::Full) if count - hits <= self.parts.scratch as usize => return false,
            Err(why) => {
                let why = match why {
                    NoTable::Full => "the prompt is larger than the room for it",
                    NoTable::Missing => "blocks that are cached are not here",
                };
                let mut out = Outputs::new();
                if let Agent::Prefill(agent) = &mut self.agent {
                    agent.not_computed(why.into(), &mut out);
                }
                self.carry_out(out);
                return true;
            }
        };
        let blocks = self.kv.blocks(&holder).to_vec();
        let block = self.parts.cluster.block;
        let (mut steps, mut chunks) = (Vec::new(), Vec::new());
        let mut start = run.cached;
        for end in run.chunk_ends() {
            let last = end == run.input;
            let stored = block * hits as u64;
            steps.push(Step {
                pieces: vec![Piece {
                    ticket,
                    phase: Phase::Prefill,
                    start: start.0 as u32,
                    tokens: self.tokens(prompt, &[], start.0..end.0),
                    stored: stored.max(start).min(end).0 as u32,
                    blocks: blocks[..self.blocks_for(end)].to_vec(),
                    sample: last.then(|| sampling(prompt)),
                }],
            });
            chunks.push(match last {
                true => count,
                false => (end.0 / block.0) as usize,
            });
            start = end;
        }
        self.status.chunked += u64::from(steps.len() > 1);
        let (progress, watched) = watch::channel(Progress::default());
        let progress = Arc::new(progress);
        let number = self.number();
        if prompt.output_max > Tokens(1) {
            let sending = Sending {
                ticket,
                to: decode,
                epoch: self.epoch,
                complete: hits,
                blocks,
                chunks,
                progress: watched,
            };
            let (peers, inbox) = (Arc::clone(&self.parts.peers), self.parts.inbox.clone());
            let on_the_wire = self.kv.share(&holder);
            self.sends.insert(number, (ticket, on_the_wire));
            tokio::spawn(async move {
                let sent = send(&peers, sending).await;
                let _ = inbox.send(super::body::Inbox::Sent(number, sent)).await;
            });
        }
        let job = Job {
            holder: self.kv.share(&holder),
            progress: Arc::clone(&progress),
            send: number,
            first: 0,
        };
        if let Some(before) = self.jobs.insert(ticket, job) {
            self.kv.release(before.holder);
        }
        let prompt = Arc::clone(prompt);
        self.begin(
            What::Prompt { prompt, hits },
            vec![ticket],
            vec![holder],
            steps,
            Some(progress),
        );
        true
    }

    /// Begins a step of a decode node's batch.
    fn step(&mut self) {
        let members: Vec<InBatch> = match &self.agent {
            Agent::Decode(agent) => agent.in_batch().collect(),
            _ => return,
        };
        let (mut pieces, mut holders) = (Vec::new(), Vec::new());
        let failed = self.continue_all(&members, &mut pieces, &mut holders);
        self.run_pieces(What::Batch, pieces, holders);
        self.give_up(failed, "no block is free for the next token");
    }

    /// Begins a coupled node's pass.
    fn pass(&mut self, run: CoupledRun) {
        let Agent::Coupled(agent) = &self.agent else {
            return;
        };
        let waiting: Vec<Ticket> = agent.batch().tickets_waiting().collect();
        let prompts: Vec<PieceOf> = agent.pieces().collect();
        let members: Vec<InBatch> = agent.in_batch(&run).collect();
        for ticket in waiting {
            // It has lost its KV to others, or has none yet.
            let sequence = self.sequences.get_mut(&ticket);
            if let Some(holder) = sequence.and_then(|sequence| sequence.holder.take()) {
                self.kv.release(holder);
            }
        }
        let (mut pieces, mut holders) = (Vec::new(), Vec::new());
        let mut failed = self.continue_all(&members, &mut pieces, &mut holders);
        let mut done = Vec::new();
        for piece in &prompts {
            match self.piece_of(piece, &mut holders) {
                Some(made) => pieces.push(made),
                None => failed.push(piece.ticket),
            }
            if piece.is_last() {
                done.push(piece.ticket);
            }
        }
        self.run_pieces(What::Pass(done), pieces, holders);
        self.give_up(failed, "no block is free for it");
    }

    /// A piece of each member's answer; whose blocks cannot grow is given back.
    fn continue_all(
        &mut self,
        members: &[InBatch],
        pieces: &mut Vec<Piece>,
        holders: &mut Vec<Holder>,
    ) -> Vec<Ticket> {
        let mut failed = Vec::new();
        for member in members {
            let start = member.prompt.input.0 + member.made - 1;
            let needed = self.blocks_for(Tokens(start + 1));
            let sequence = self.sequences.get(&member.ticket);
            let sequence = sequence.filter(|sequence| sequence.answer.len() as u64 == member.made);
            let Some((holder, &token)) =
                sequence.and_then(|it| it.holder.as_ref().zip(it.answer.last()))
            else {
                failed.push(member.ticket);
                continue;
            };
            let mut grown = true;
            while grown && self.kv.blocks(holder).len() < needed {
                grown = self.kv.grow(holder);
            }
            if !grown {
                failed.push(member.ticket);
                continue;
            }
            pieces.push(Piece {
                ticket: member.ticket,
                phase: Phase::Decode,
                start: start as u32,
                tokens: vec![token],
                stored: start as u32,
                blocks: self.kv.blocks(holder)[..needed].to_vec(),
                sample: Some(sampling(&member.prompt)),
            });
            holders.push(self.kv.share(holder));
        }
        failed
    }

    /// A piece of a prompt on a coupled node; its table is made with the first one.
    fn piece_of(&mut self, piece: &PieceOf, holders: &mut Vec<Holder>) -> Option<Piece> {
        let (start, end) = (piece.piece.start, piece.piece.end);
        let whole = self.blocks_for(piece.prompt.input + Tokens(piece.made));
        let block = self.parts.cluster.block;
        let sequence = self.sequences.get_mut(&piece.ticket)?;
        if sequence.holder.is_none() {
            // It begins where its cached blocks end, or one token before: a block of which only that is needed is not
            // taken from the cache, but made once more.
            let hits = start.blocks(block) as usize;
            let table = self.kv.prompt(&piece.prompt.blocks, hits, whole);
            sequence.holder = Some(table.ok()?);
            sequence.hits = hits;
        }
        let holder = sequence.holder.as_ref()?;
        let stored = (block * sequence.hits as u64).max(start).min(end);
        let blocks: &[BlockId] = self.kv.blocks(holder);
        let blocks = blocks.get(..end.blocks(block) as usize)?.to_vec();
        holders.push(self.kv.share(holder));
        let answer = &self.sequences.get(&piece.ticket)?.answer;
        Some(Piece {
            ticket: piece.ticket,
            phase: Phase::Prefill,
            start: start.0 as u32,
            tokens: self.tokens(&piece.prompt, answer, start.0..end.0),
            stored: stored.0 as u32,
            blocks,
            sample: piece.is_last().then(|| sampling(&piece.prompt)),
        })
    }

    fn run_pieces(&mut self, what: What, pieces: Vec<Piece>, holders: Vec<Holder>) {
        let tickets = pieces.iter().map(|piece| piece.ticket).collect();
        let steps = match pieces.is_empty() {
            true => Vec::new(),
            false => vec![Step { pieces }],
        };
        self.begin(what, tickets, holders, steps, None);
    }

    fn begin(
        &mut self,
        what: What,
        tickets: Vec<Ticket>,
        holders: Vec<Holder>,
        steps: Vec<Step>,
        progress: Option<Arc<watch::Sender<Progress>>>,
    ) {
        self.running = Some(Running {
            what,
            holders,
            tickets,
            progress: progress.clone(),
            roles: self.roles,
            sessions: self.sessions,
        });
        // It takes one order at a time, and has none: there is room.
        let _ = self.parts.work.try_send(Work {
            arrived: std::mem::take(&mut self.arrived).into_iter().collect(),
            steps,
            progress,
        });
    }

    /// Nobody is left for whom the engine computes: a prompt ends with its present chunk.
    pub(super) fn make_void(&self) {
        let progress = self.running.as_ref().and_then(|it| it.progress.as_ref());
        if let Some(progress) = progress {
            progress.send_modify(|progress| progress.void = true);
        }
    }

    /// The engine is done.
    pub(super) fn computed(&mut self, done: Result<StepOutput, EngineError>) {
        let Some(running) = self.running.take() else {
            return;
        };
        if running.roles == self.roles {
            match &running.what {
                What::Prompt { prompt, hits } => {
                    self.prompt_computed(done, &running, prompt, *hits);
                }
                What::Batch => self.batch_computed(done, &running, &[]),
                What::Pass(prompts) => self.batch_computed(done, &running, prompts),
            }
        }
        for holder in running.holders {
            self.kv.release(holder);
        }
        self.go_on();
    }

    fn prompt_computed(
        &mut self,
        done: Result<StepOutput, EngineError>,
        running: &Running,
        prompt: &Prompt,
        hits: usize,
    ) {
        let mut out = Outputs::new();
        let Agent::Prefill(agent) = &mut self.agent else {
            return;
        };
        let made = done.map(|output| output.sampled.first().map(|made| made.token));
        match made {
            Ok(Some(token)) => {
                if let (Some(holder), Some(&ticket)) =
                    (running.holders.first(), running.tickets.first())
                {
                    self.kv.complete(holder, &prompt.blocks, hits);
                    if let Some(job) = self.jobs.get_mut(&ticket) {
                        job.first = token;
                    }
                }
                let stop = self.parts.ends.contains(&token) && !prompt.sampling.ignore_end;
                let last = match (stop, prompt.output_max) {
                    (true, _) => Some(EndReason::Stop),
                    (false, Tokens(1)) => Some(EndReason::Length),
                    (false, _) => None,
                };
                agent.computed(token, last, &mut out);
            }
            Ok(None) => agent.not_computed("the engine made no number".into(), &mut out),
            Err(error) => agent.not_computed(error.to_string(), &mut out),
        }
        self.carry_out(out);
    }

    /// A step of a batch, with or without prompts, is over.
    fn batch_computed(
        &mut self,
        done: Result<StepOutput, EngineError>,
        running: &Running,
        prompts: &[Ticket],
    ) {
        // Whoever was in it in an earlier session has left with that.
        let present = running.sessions == self.sessions;
        let (sampled, mut failed, why) = match done {
            Ok(output) => (output.sampled, output.failed, String::new()),
            Err(error) => (Vec::new(), running.tickets.clone(), error.to_string()),
        };
        let mut made = Vec::new();
        for token in sampled.into_iter().filter(|_| present) {
            let Some(sequence) = self.sequences.get_mut(&token.ticket) else {
                continue;
            };
            sequence.answer.push(token.token);
            let prompt = &sequence.prompt;
            let stop = self.parts.ends.contains(&token.token) && !prompt.sampling.ignore_end;
            let full = token.position as usize + 1 >= self.parts.engine_limits.positions;
            made.push(Made {
                ticket: token.ticket,
                token: token.token,
                ends: stop || full,
            });
            if prompts.contains(&token.ticket)
                && let Some(holder) = &sequence.holder
            {
                self.kv.complete(holder, &prompt.blocks, sequence.hits);
            }
        }
        let (now, mut out) = (self.now(), Outputs::new());
        match &mut self.agent {
            Agent::Decode(agent) => agent.stepped(now, &made, &mut out),
            Agent::Coupled(agent) => agent.passed(now, &made, &mut out),
            Agent::Prefill(_) => {}
        }
        if !present {
            failed.clear();
        }
        self.abort_into(&failed, &mut out);
        self.carry_out(out);
        for ticket in failed {
            self.fail(ticket, why.clone());
        }
    }

    fn abort_into(&mut self, tickets: &[Ticket], out: &mut Outputs) {
        for &ticket in tickets {
            match &mut self.agent {
                Agent::Decode(agent) => agent.abort(ticket, out),
                Agent::Coupled(agent) => agent.abort(ticket, out),
                Agent::Prefill(_) => {}
            }
        }
    }

    /// These cannot go on here.
    fn give_up(&mut self, tickets: Vec<Ticket>, why: &str) {
        let mut out = Outputs::new();
        self.abort_into(&tickets, &mut out);
        for ticket in tickets {
            self.fail(ticket, why.into());
        }
        if !out.is_empty() {
            self.carry_out(out);
        }
    }

    /// Tokens of a prompt and its answer. Where a prompt has none, as in replays of traces, they are made of its
    /// blocks' hashes, so that equal prefixes are equal.
    fn tokens(&self, prompt: &Prompt, answer: &[u32], range: Range<u64>) -> Vec<u32> {
        let vocabulary = self.parts.engine_limits.vocabulary.max(1) as u64;
        let block = self.parts.cluster.block.0;
        let token = |position: u64| {
            if let Some(after) = position.checked_sub(prompt.input.0) {
                return answer.get(after as usize).copied().unwrap_or(0);
            }
            prompt
                .tokens
                .get(position as usize)
                .copied()
                .unwrap_or_else(|| {
                    let hash = prompt.blocks.get((position / block) as usize);
                    let seed = hash.map_or(prompt.sampling.seed, |hash| hash.0);
                    (Stream::new(seed, "prompt").draw(position) % vocabulary) as u32
                })
        };
        range.map(token).collect()
    }
}

fn sampling(prompt: &Prompt) -> Sampling {
    let asked = prompt.sampling;
    // What a gateway lets pass is in range; what is not is the likeliest.
    Sampling::new(asked.temperature, 1.0, asked.seed).unwrap_or(Sampling::Greedy)
}

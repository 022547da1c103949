//! The agent of a coupled node: prompts and answers on one engine, pass by pass.

use super::decode::{InBatch, Made};
use super::say::{self, Reports};
use super::{Output, Outputs};
use crate::protocol::{EndReason, FromNode, Prompt};
use conductor_core::config::{ClusterConfig, Evictions};
use conductor_core::cost::Piece;
use conductor_core::ids::{NodeId, Ticket};
use conductor_core::node::{CoupledBatch, CoupledNews, CoupledRun, PlaceId};
use conductor_core::steps::StepRun;
use conductor_core::units::{Nanos, Tokens};
use std::collections::BTreeMap;
use std::sync::Arc;

struct Place {
    prompt: Arc<Prompt>,
    id: PlaceId,
    /// Tokens of the answer so far.
    made: u64,
}

/// A piece of a prompt in a pass. After a loss of KV a prompt goes on in the answer's tokens.
#[derive(Clone, Debug)]
pub struct PieceOf {
    /// Whose.
    pub ticket: Ticket,
    /// The prompt.
    pub prompt: Arc<Prompt>,
    /// Its tokens, of prompt and answer so far.
    pub piece: Piece,
    /// Tokens of the answer so far.
    pub made: u64,
}

impl PieceOf {
    /// True if a token follows: all that there is of the request is computed with this piece.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.piece.end == self.prompt.input + Tokens(self.made)
    }
}

/// See the module.
pub struct CoupledAgent {
    batch: CoupledBatch,
    places: BTreeMap<Ticket, Place>,
    running: Option<Nanos>,
    news: CoupledNews,
    reports: Reports,
}

impl CoupledAgent {
    /// An idle node with an empty cache.
    #[must_use]
    pub fn new(node: NodeId, cluster: &ClusterConfig, evictions: Evictions) -> Self {
        let spec = &cluster.nodes[node.index()];
        let (engine, block) = (cluster.coupled, cluster.block);
        Self {
            batch: CoupledBatch::new(engine, block, spec.hbm_blocks, evictions.main),
            places: BTreeMap::new(),
            running: None,
            news: CoupledNews::default(),
            reports: Reports::default(),
        }
    }

    /// The Conductor orders a request to be served.
    pub fn serve(&mut self, now: Nanos, ticket: Ticket, prompt: &Arc<Prompt>, out: &mut Outputs) {
        let id = self
            .batch
            .enqueue(ticket, prompt.input, prompt.output_max, &prompt.blocks);
        self.places.insert(
            ticket,
            Place {
                prompt: Arc::clone(prompt),
                id,
                made: 0,
            },
        );
        if self.running.is_none() {
            self.start(now, out);
        }
    }

    /// The pieces of prompts in the pass that is under way.
    pub fn pieces(&self) -> impl Iterator<Item = PieceOf> + '_ {
        let pieces = self.batch.pieces().iter();
        let tickets = self.batch.tickets_of_pieces();
        tickets.zip(pieces).filter_map(|(ticket, &piece)| {
            let place = self.places.get(&ticket)?;
            Some(PieceOf {
                ticket,
                prompt: Arc::clone(&place.prompt),
                piece,
                made: place.made,
            })
        })
    }

    /// Who gets a token with the pass that is under way `run`, in order.
    pub fn in_batch(&self, run: &CoupledRun) -> impl Iterator<Item = InBatch> + '_ {
        let tickets = self.batch.tickets().take(run.batch as usize);
        tickets.filter_map(|ticket| {
            let place = self.places.get(&ticket)?;
            Some(InBatch {
                ticket,
                prompt: Arc::clone(&place.prompt),
                made: place.made,
            })
        })
    }

    /// The pass is over, and made these tokens.
    pub fn passed(&mut self, now: Nanos, made: &[Made], out: &mut Outputs) {
        let Some(started) = self.running.take() else {
            return;
        };
        let ends = |ticket: Ticket| made.iter().any(|made| made.ticket == ticket && made.ends);
        // Who ends in the batch leaves with this pass; who ends with a first token is not in it yet.
        for made in made.iter().filter(|made| made.ends) {
            if let Some(place) = self.places.get(&made.ticket)
                && place.made > 0
            {
                self.batch.cancel(place.id);
            }
        }
        self.news.clear();
        let pass = StepRun::once(now - started);
        self.batch.finish(started, pass, 1, &mut self.news);
        self.say_cache(out);
        self.say_started(out);
        for made in made {
            let (ticket, token) = (made.ticket, made.token);
            let Some(place) = self.places.get_mut(&ticket) else {
                continue;
            };
            let position = place.made;
            place.made += 1;
            out.push(Output::Say(match position {
                0 => FromNode::FirstToken { ticket, token },
                _ => FromNode::Token {
                    ticket,
                    position,
                    token,
                },
            }));
        }
        self.say_ended(out);
        let stopped: Vec<Ticket> = made.iter().map(|made| made.ticket).collect();
        for ticket in stopped.into_iter().filter(|&ticket| ends(ticket)) {
            self.end(ticket, out);
        }
        self.start(now, out);
    }

    /// The answer is long enough: it ends as if the model had said so.
    pub fn stop(&mut self, ticket: Ticket, out: &mut Outputs) {
        self.end(ticket, out);
    }

    /// The Conductor has given the attempt up.
    pub fn abort(&mut self, ticket: Ticket, out: &mut Outputs) {
        if let Some(place) = self.places.remove(&ticket) {
            self.batch.cancel(place.id);
            out.push(Output::Forget { ticket });
        }
    }

    /// Says all that the cache has.
    pub fn report_cache(&mut self, out: &mut Outputs) {
        let blocks = self.batch.cache().blocks().collect();
        self.reports.whole(blocks, out);
    }

    /// The Conductor has gone: all work for it is given up; what is cached stays. Reports are counted anew.
    pub fn session_ended(&mut self, out: &mut Outputs) {
        let tickets: Vec<Ticket> = self.places.keys().copied().collect();
        for ticket in tickets {
            self.abort(ticket, out);
        }
        self.reports = Reports::default();
    }

    /// True if it has no work.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_none() && self.batch.is_idle()
    }

    /// The machine.
    #[must_use]
    pub const fn batch(&self) -> &CoupledBatch {
        &self.batch
    }

    /// Ends an answer by the model's or the client's word.
    fn end(&mut self, ticket: Ticket, out: &mut Outputs) {
        let Some(place) = self.places.remove(&ticket) else {
            return;
        };
        // One that left with the pass has given its place back, perhaps to another.
        if self.batch.tickets().any(|other| other == ticket)
            || self.batch.tickets_of_pieces().any(|other| other == ticket)
        {
            self.batch.cancel(place.id);
        }
        say::ended(ticket, Tokens(place.made), EndReason::Stop, out);
    }

    fn start(&mut self, now: Nanos, out: &mut Outputs) {
        self.news.clear();
        let planned = self.batch.start(&mut self.news);
        if let Some(run) = planned {
            self.running = Some(now);
            out.push(Output::Pass(CoupledRun { steps: 1, ..run }));
        }
        self.say_cache(out);
        self.say_started(out);
        self.say_ended(out);
    }

    fn say_cache(&mut self, out: &mut Outputs) {
        self.reports.changes(&self.news.cache, out);
    }

    fn say_started(&mut self, out: &mut Outputs) {
        for started in &self.news.started {
            out.push(Output::Say(FromNode::Started {
                ticket: started.ticket,
                cached: started.cached,
            }));
        }
    }

    fn say_ended(&mut self, out: &mut Outputs) {
        for ended in &self.news.ended {
            let ticket = ended.ticket;
            let Some(place) = self.places.remove(&ticket) else {
                continue;
            };
            let made = ended.complete.then_some(Tokens(place.made));
            say::let_go(ticket, made, out);
        }
    }
}

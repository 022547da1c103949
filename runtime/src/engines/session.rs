//! The loop of one engine: there, gone, there again; and in between orders in, facts out.
//!
//! An engine that cannot be compared with the gateway, or differs from it, is not used: each request would be computed
//! as if nothing were cached, or the answers would be of another model.

use super::book::{Book, BookCounts, Output};
use super::config::EngineFile;
use super::http::{Heard, Http};
use super::probe;
use super::wire::{Piece, request_body};
use crate::gateway::Text;
use crate::task::{DriverHandle, SessionId, TO_NODE_MAX};
use conductor_core::ids::{NodeId, Ticket};
use conductor_core::units::Tokens;
use conductor_events::source::{Source, SourceConfig, Told};
use conductor_events::tree::TreeConfig;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Pieces of answers that wait at most.
const PIECES_MAX: usize = 4096;
/// So many looks at an engine's health may fail, one after the other.
const UNWELL_MAX: u32 = 3;
/// Before a failure is told, so that an engine that is busy has some time, and one that is gone is known to be before
/// the request comes to it again; it doubles with each further attempt.
const FAILED: Duration = Duration::from_millis(100);
/// Between two tries to reach an engine that is not there.
const AGAIN: Duration = Duration::from_millis(500);

/// What happens to an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineNews {
    /// It is there.
    Up {
        /// Tokens of prompt and answer that it takes, if the gateway's text allows more: what is longer it refuses.
        tokens_max: Option<u64>,
    },
    /// It was there, and is gone; with what has happened meanwhile.
    Down(String, BookCounts),
    /// It cannot be used. Said once for each reason.
    Unusable(String),
}

/// Who hears of it: called on the engine's task, so it must not block.
pub type Report = Arc<dyn Fn(NodeId, &EngineNews) + Send + Sync>;

/// What engines share.
#[derive(Clone)]
pub struct Setting {
    /// Tokens in a block of the cluster.
    pub block: Tokens,
    /// The model as the gateway names it.
    pub model: String,
    /// The gateway's tokenizer and template.
    pub text: Arc<dyn Text>,
    /// Who gives orders.
    pub driver: DriverHandle,
    /// Who hears of engines.
    pub report: Report,
}

/// All engines. Dropping it lets them go.
pub struct Engines(JoinSet<()>);

impl fmt::Debug for Engines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engines({})", self.0.len())
    }
}

/// Begins to keep engines, the nodes of a cluster in its order.
///
/// # Errors
/// If an address is none.
pub fn spawn(engines: &[EngineFile], setting: &Setting) -> Result<Engines, String> {
    let mut tasks = JoinSet::new();
    for (number, file) in engines.iter().enumerate() {
        let events = file.kv_events.as_deref().map(|events| {
            let tree = TreeConfig {
                engine: file.block_tokens,
                ..TreeConfig::new(&setting.model, setting.block)
            };
            SourceConfig::new(events, file.kv_replay.as_deref(), tree)
        });
        let events = events.transpose();
        let engine = Engine {
            node: NodeId(number as u16),
            http: Http::new(&file.url, Duration::from_secs(file.silent_s)),
            health: Duration::from_millis(file.health_ms),
            model: file.model.clone(),
            events: events.map_err(|error| format!("engine {number}: {error}"))?,
            setting: setting.clone(),
        };
        tasks.spawn(engine.keep());
    }
    Ok(Engines(tasks))
}

struct Engine {
    node: NodeId,
    http: Http,
    health: Duration,
    model: String,
    events: Option<SourceConfig>,
    setting: Setting,
}

/// The driver has ended.
struct Ended;

impl Engine {
    async fn keep(self) {
        let mut said = None;
        for session in 1.. {
            let usable = async {
                probe::is_well(&self.http, self.health.max(AGAIN)).await?;
                probe::compare(&self.http, &self.model, self.setting.text.as_ref()).await
            };
            match usable.await {
                Ok(tokens_max) => {
                    said = None;
                    match self.session(SessionId(session), tokens_max).await {
                        Ok((why, counts)) => self.report(&EngineNews::Down(why, counts)),
                        Err(Ended) => return,
                    }
                }
                Err(why) if said.as_ref() != Some(&why) => {
                    self.report(&EngineNews::Unusable(why.clone()));
                    said = Some(why);
                }
                Err(_) => {}
            }
            sleep(AGAIN).await;
        }
    }

    fn report(&self, news: &EngineNews) {
        (self.setting.report)(self.node, news);
    }

    /// From up to down, and why it is down.
    async fn session(
        &self,
        session: SessionId,
        tokens_max: Option<u64>,
    ) -> Result<(String, BookCounts), Ended> {
        let driver = &self.setting.driver;
        let (link, mut orders) = mpsc::channel(TO_NODE_MAX);
        let up = driver.node_up(self.node, session, link).await;
        up.map_err(|_| Ended)?;
        self.report(&EngineNews::Up { tokens_max });
        let mut listener = self.events.clone().map(Source::spawn);
        let (say, mut heard) = mpsc::channel(PIECES_MAX);
        let mut streams = Streams::default();
        let mut book = Book::new(self.setting.block);
        let mut looks = interval(self.health);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (wells, mut well) = mpsc::channel(1);
        let mut looking = false;
        let mut unwell = 0;
        let why = loop {
            let mut out = Vec::new();
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => book.order(order, &mut out),
                    None => break "too many orders wait for it".into(),
                },
                Some(news) = heard.recv() => match news {
                    Heard::Pieces(ticket, pieces) => {
                        for piece in pieces {
                            book.piece(ticket, piece, &mut out);
                        }
                    }
                    Heard::Completed(ticket) => book.completed(ticket, &mut out),
                },
                told = told(listener.as_mut()) => match told {
                    Some(told) => book.told(&told, &mut out),
                    None => listener = None,
                },
                _ = looks.tick(), if !looking => {
                    looking = true;
                    let (http, wells, patience) = (self.http.clone(), wells.clone(), self.health.max(AGAIN));
                    streams.tasks.spawn(async move {
                        let _ = wells.send(probe::is_well(&http, patience).await).await;
                    });
                }
                Some(is_well) = well.recv() => {
                    looking = false;
                    match is_well {
                        Ok(()) => unwell = 0,
                        Err(why) => {
                            unwell += 1;
                            if unwell == UNWELL_MAX {
                                break why;
                            }
                        }
                    }
                }
                Some(_) = streams.tasks.join_next() => {}
            }
            let mut facts = Vec::new();
            for output in out {
                match output {
                    Output::Say(fact) => facts.push(fact),
                    Output::Drop { ticket } => streams.end(ticket),
                    Output::Send { ticket, prompt } => {
                        let body = request_body(&self.model, &prompt);
                        streams.begin(ticket, self.http.clone(), body, say.clone());
                    }
                }
            }
            streams.forget_ended();
            if !facts.is_empty() {
                let said = driver.said(self.node, session, facts).await;
                said.map_err(|_| Ended)?;
            }
        };
        // Its streams end with this function.
        let down = driver.node_down(self.node, session).await;
        down.map_err(|_| Ended)?;
        Ok((why, *book.counts()))
    }
}

async fn told(listener: Option<&mut (Source, mpsc::Receiver<Told>)>) -> Option<Told> {
    match listener {
        Some((_, told)) => told.recv().await,
        None => std::future::pending().await,
    }
}

/// Requests that are under way; dropping it drops them.
#[derive(Default)]
struct Streams {
    tasks: JoinSet<()>,
    by_ticket: BTreeMap<Ticket, AbortHandle>,
}

impl Streams {
    fn begin(&mut self, ticket: Ticket, http: Http, body: Vec<u8>, say: mpsc::Sender<Heard>) {
        let task = self.tasks.spawn(async move {
            let news = match http.complete(body, ticket, &say).await {
                Ok(()) => Heard::Completed(ticket),
                Err(last) => {
                    if matches!(last, Piece::Failed(_)) {
                        sleep(FAILED * (1 << ticket.attempt.min(4))).await;
                    }
                    Heard::Pieces(ticket, vec![last])
                }
            };
            let _ = say.send(news).await;
        });
        self.by_ticket.insert(ticket, task);
    }

    fn end(&mut self, ticket: Ticket) {
        if let Some(task) = self.by_ticket.remove(&ticket) {
            task.abort();
        }
    }

    fn forget_ended(&mut self) {
        self.by_ticket.retain(|_, task| !task.is_finished());
    }
}

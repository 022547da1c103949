//! The sockets of one engine: subscribes to its events, asks for what was missed, and tells what follows.
//!
//! One task for each engine. A subscription that breaks is made anew here and not by the library, so that each new
//! connection is known as one. Who listens to a source holds it up when it is slow; then the publisher drops messages,
//! which shows as a gap and is asked for again. What was lost before a silence is noticed with the next message.
//!
//! Not here: what messages mean ([`crate::feed`]).

use crate::feed::{Feed, FeedCounts, Update};
use crate::follower::{Attempt, FollowerConfig};
use crate::frames;
use crate::recording::{Came, Recorded};
use crate::tree::{Change, TreeConfig};
use futures_util::StreamExt;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqError, ZmqMessage};

/// Tellings that wait for whoever listens at most.
const TOLD_MAX: usize = 256;
/// Answers to a replay request that wait at most.
const ANSWERS_MAX: usize = 256;
/// Longest address.
const ADDRESS_BYTES_MAX: usize = 512;

/// Where an engine publishes, and how it is listened to.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// Where it publishes, such as `tcp://10.0.0.5:5557`.
    pub events: String,
    /// Where it can be asked for what was missed.
    pub replay: Option<String>,
    /// Only messages whose topic begins so are wanted; usually all.
    pub topic: String,
    /// The engine's blocks.
    pub tree: TreeConfig,
    /// How long connecting may take.
    pub connect: Duration,
    /// Between two tries.
    pub pause: Duration,
    /// How long the next answer of a replay may take.
    pub answer: Duration,
    /// An engine that has had no connection for so long has no blocks any more.
    pub gone: Duration,
}

impl SourceConfig {
    /// 2 s to connect, tries every half second, 5 s for an answer; gone after 10 s.
    ///
    /// # Errors
    /// If an address is none.
    pub fn new(events: &str, replay: Option<&str>, tree: TreeConfig) -> Result<Self, NotAnAddress> {
        for address in replay.into_iter().chain([events]) {
            check(address)?;
        }
        Ok(Self {
            events: events.into(),
            replay: replay.map(Into::into),
            topic: String::new(),
            tree,
            connect: Duration::from_secs(2),
            pause: Duration::from_millis(500),
            answer: Duration::from_secs(5),
            gone: Duration::from_secs(10),
        })
    }
}

/// Something that cannot be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{0}\", expected tcp://HOST:PORT")]
pub struct NotAnAddress(String);

fn check(address: &str) -> Result<(), NotAnAddress> {
    let host_port = address
        .strip_prefix("tcp://")
        .and_then(|rest| rest.rsplit_once(':'));
    let fine = host_port.is_some_and(|(host, port)| {
        let port = port.parse::<u16>().is_ok_and(|port| port > 0);
        port && !host.is_empty() && !host.contains(['*', '/', ' '])
    });
    match fine && address.len() <= ADDRESS_BYTES_MAX {
        true => Ok(()),
        false => Err(NotAnAddress(
            address.chars().take(ADDRESS_BYTES_MAX).collect(),
        )),
    }
}

/// What is told of an engine's blocks, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It has none, as far as is known.
    Cleared,
    /// Blocks lie elsewhere than before.
    Changed(Vec<Change>),
}

/// How a source stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceStatus {
    /// The subscription stands.
    pub connected: bool,
    /// A replay is awaited.
    pub replaying: bool,
    /// What has happened so far.
    pub counts: FeedCounts,
    /// Messages that were none of a publisher's.
    pub misframed: u64,
    /// What went wrong last.
    pub error: Option<String>,
}

/// A source that runs until it is dropped.
#[derive(Debug)]
pub struct Source {
    task: JoinHandle<()>,
    status: watch::Receiver<SourceStatus>,
}

impl Source {
    /// Begins to listen.
    #[must_use]
    pub fn spawn(config: SourceConfig) -> (Self, mpsc::Receiver<Told>) {
        let (told, listener) = mpsc::channel(TOLD_MAX);
        let (said, status) = watch::channel(SourceStatus::default());
        let follower = FollowerConfig::new(config.replay.is_some());
        let task = Task {
            feed: Feed::new(follower, config.tree.clone()),
            config,
            told,
            status: said,
            replay: None,
        };
        let task = tokio::spawn(task.run());
        (Self { task, status }, listener)
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> SourceStatus {
        self.status.borrow().clone()
    }

    /// Hears of each change of [`Self::status`].
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<SourceStatus> {
        self.status.clone()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Nobody listens any more.
struct Unheard;

struct Task {
    config: SourceConfig,
    feed: Feed,
    told: mpsc::Sender<Told>,
    status: watch::Sender<SourceStatus>,
    replay: Option<Replay>,
}

impl Task {
    async fn run(mut self) {
        let mut without = Instant::now();
        loop {
            let subscribed = timeout(self.config.connect, subscribe(&self.config)).await;
            let error = match subscribed {
                Ok(Ok(socket)) => {
                    let Ok(error) = self.session(socket).await else {
                        return;
                    };
                    without = Instant::now();
                    error
                }
                Ok(Err(error)) => error,
                Err(_) => "it does not answer".into(),
            };
            self.replay = None;
            self.status.send_modify(|status| {
                status.connected = false;
                status.error = Some(format!("{}: {error}", self.config.events));
            });
            if without.elapsed() >= self.config.gone {
                let mut updates = Vec::new();
                self.feed.gone(&mut updates);
                if self.carry_out(updates).await.is_err() {
                    return;
                }
            }
            sleep(self.config.pause).await;
        }
    }

    /// From a subscription to its end, and why it ended.
    async fn session(&mut self, mut socket: SubSocket) -> Result<String, Unheard> {
        let mut monitor = socket.monitor();
        self.status.send_modify(|status| {
            status.connected = true;
            status.error = None;
        });
        let mut updates = Vec::new();
        self.feed.connected(&mut updates);
        self.carry_out(updates).await?;
        loop {
            let mut updates = Vec::new();
            let answers = self.replay.as_mut().map(|replay| &mut replay.answers);
            tokio::select! {
                message = socket.recv() => match message {
                    Ok(message) => match frames::live(&message.into_vec()) {
                        Ok(live) => self.feed.live(live.number, live.payload, &mut updates),
                        Err(error) => self.misframed(&error),
                    },
                    Err(error) => return Ok(error.to_string()),
                },
                event = monitor.next() => match event {
                    Some(zeromq::SocketEvent::Disconnected(_)) | None => {
                        return Ok("the connection is closed".into());
                    }
                    Some(_) => {}
                },
                (attempt, answer) = heard(answers) => match answer {
                    Some(Answer::Batch(batch)) => {
                        self.feed
                            .replayed(attempt, batch.number, batch.payload, &mut updates);
                    }
                    Some(Answer::End) => self.feed.replay_ended(attempt, &mut updates),
                    Some(Answer::Failed(error)) => {
                        self.status.send_modify(|status| status.error = Some(error));
                        self.feed.replay_failed(attempt, &mut updates);
                    }
                    None => self.feed.replay_failed(attempt, &mut updates),
                },
            }
            self.carry_out(updates).await?;
        }
    }

    fn misframed(&self, error: &frames::Misframed) {
        self.status.send_modify(|status| {
            status.misframed += 1;
            status.error = Some(format!("{}: {error}", self.config.events));
        });
    }

    async fn carry_out(&mut self, updates: Vec<Update>) -> Result<(), Unheard> {
        for update in updates {
            let told = match update {
                Update::Cleared => Told::Cleared,
                Update::Changed(changes) => Told::Changed(changes),
                Update::Ask { attempt, from } => {
                    self.replay = self.config.replay.as_ref().map(|address| {
                        Replay::ask(address.clone(), attempt, from, self.config.answer)
                    });
                    continue;
                }
            };
            self.told.send(told).await.map_err(|_| Unheard)?;
        }
        if !self.feed.is_asking() {
            self.replay = None;
        }
        let malformed = self.feed.take_malformed();
        self.status.send_modify(|status| {
            status.counts = self.feed.counts();
            status.replaying = self.feed.is_asking();
            if let Some(malformed) = malformed {
                status.error = Some(format!("{}: {malformed}", self.config.events));
            }
        });
        Ok(())
    }
}

async fn subscribe(config: &SourceConfig) -> Result<SubSocket, String> {
    let mut socket = SubSocket::new();
    let subscribed = async {
        socket.subscribe(&config.topic).await?;
        socket.connect(&config.events).await
    };
    subscribed.await.map_err(|error| error.to_string())?;
    Ok(socket)
}

/// Hands every message of an engine to `sink` as it comes, until `enough`: what can be replayed, and what is live.
///
/// # Errors
/// In one line, if there is no connection.
pub async fn record(
    config: &SourceConfig,
    mut sink: impl FnMut(Recorded),
    enough: impl Future<Output = ()>,
) -> Result<(), String> {
    const LATE: &str = "it does not answer";
    let of = |address: &str, error: &str| format!("{address}: {error}");
    let subscribed = timeout(config.connect, subscribe(config)).await;
    let subscribed = subscribed.unwrap_or_else(|_| Err(LATE.into()));
    let mut live = subscribed.map_err(|error| of(&config.events, &error))?;
    let mut replay = None;
    if let Some(address) = &config.replay {
        let asked = timeout(config.connect, ask(address, 0)).await;
        let asked = asked.unwrap_or_else(|_| Err(LATE.into()));
        replay = Some(asked.map_err(|error| of(address, &error))?);
    }
    let mut enough = std::pin::pin!(enough);
    loop {
        let replayed = async {
            match &mut replay {
                Some(socket) => socket.recv().await,
                None => std::future::pending().await,
            }
        };
        let (came, address, message) = tokio::select! {
            () = &mut enough => return Ok(()),
            message = live.recv() => (Came::Live, &config.events, message),
            message = replayed => (Came::Replayed, config.replay.as_ref().unwrap_or(&config.events), message),
        };
        let message = message.map_err(|error| of(address, &error.to_string()))?;
        sink(Recorded {
            came,
            frames: message.into_vec(),
        });
    }
}

/// What is said to a replay request.
enum Answer {
    Batch(frames::Numbered),
    End,
    Failed(String),
}

/// A replay that was asked for; dropping it is not to hear of it any more.
struct Replay {
    task: JoinHandle<()>,
    answers: Answers,
}

struct Answers {
    attempt: Attempt,
    answers: mpsc::Receiver<Answer>,
}

/// The next answer; never comes if nothing was asked.
async fn heard(answers: Option<&mut Answers>) -> (Attempt, Option<Answer>) {
    match answers {
        Some(answers) => (answers.attempt, answers.answers.recv().await),
        None => std::future::pending().await,
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Replay {
    fn ask(address: String, attempt: Attempt, from: u64, patience: Duration) -> Self {
        let (said, answers) = mpsc::channel(ANSWERS_MAX);
        let task = tokio::spawn(async move {
            if let Err(error) = replay(&address, from, patience, &said).await {
                let _ = said
                    .send(Answer::Failed(format!("{address}: {error}")))
                    .await;
            }
        });
        Self {
            task,
            answers: Answers { attempt, answers },
        }
    }
}

/// Asks on a socket of its own, so that no answer to an earlier request can come.
async fn replay(
    address: &str,
    from: u64,
    patience: Duration,
    said: &mpsc::Sender<Answer>,
) -> Result<(), String> {
    const LATE: &str = "no answer to a replay request";
    let asked = timeout(patience, ask(address, from)).await;
    let mut socket = asked.map_err(|_| LATE)??;
    loop {
        let message = timeout(patience, socket.recv()).await.map_err(|_| LATE)?;
        let message = message.map_err(|error| error.to_string())?;
        let answer = frames::replayed(&message.into_vec()).map_err(|error| error.to_string())?;
        let is_last = answer.is_none();
        let answer = answer.map_or(Answer::End, Answer::Batch);
        if said.send(answer).await.is_err() || is_last {
            return Ok(());
        }
    }
}

async fn ask(address: &str, from: u64) -> Result<DealerSocket, String> {
    let mut socket = DealerSocket::new();
    let asked = async {
        socket.connect(address).await?;
        let request = ZmqMessage::try_from(frames::request(from).to_vec());
        socket.send(request.map_err(|_| ZmqError::NoMessage)?).await
    };
    asked.await.map_err(|error| error.to_string())?;
    Ok(socket)
}

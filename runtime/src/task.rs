//! The one task that owns the driver, and the handle by which all others speak to it.
//!
//! Everything comes through one bounded inbox; the time of a fact is the time at which it is taken out. A full inbox
//! makes nodes and clients wait; it never makes the Conductor wait.
//!
//! Not here: decisions, connections.

use crate::clock::Clock;
use crate::driver::{Answer, Driver, DriverCounts, Submission, World};
use crate::journal::Journal;
use crate::protocol::{FromNode, ToNode};
use conductor_core::conductor::{Counters, Loads};
use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_core::ids::{NodeId, RequestId};
use std::collections::BTreeMap;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Messages that wait for the driver at most.
const INBOX_MAX: usize = 4096;

/// Messages that wait for a node at most. A node that does not take them is taken to be gone.
pub const TO_NODE_MAX: usize = 16_384;

/// Tokens of an answer for which there is room at its client; one that reads more slowly than that loses some.
const ANSWER_MAX: u64 = 1 << 24;

/// One connection to a node, from its beginning to its end; a later one has a larger number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub u64);

enum Inbox {
    Submit {
        submission: Submission,
        answers: mpsc::Sender<Answer>,
        id: oneshot::Sender<RequestId>,
    },
    Cancel(RequestId),
    Stop(RequestId),
    NodeUp {
        node: NodeId,
        session: SessionId,
        link: mpsc::Sender<ToNode>,
    },
    NodeDown {
        node: NodeId,
        session: SessionId,
    },
    Said {
        node: NodeId,
        session: SessionId,
        facts: Vec<FromNode>,
    },
    Status(oneshot::Sender<Status>),
    End(oneshot::Sender<()>),
}

/// How things stand.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Nodes that are up, by number.
    pub up: Vec<bool>,
    /// Requests that are not answered.
    pub live: usize,
    /// What the core has counted.
    pub counters: Counters,
    /// What the driver has counted.
    pub counts: DriverCounts,
    /// Lines that the journal could not take.
    pub journal_lost: u64,
    /// Loads of nodes and pools.
    pub loads: Loads,
}

/// The driver does not take anything any more: it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended;

/// Speaks to the driver; cheap to clone.
#[derive(Clone, Debug)]
pub struct DriverHandle {
    inbox: mpsc::Sender<Inbox>,
}

/// A request's answers. Dropping it before the last one tells the driver that the client has gone.
#[derive(Debug)]
pub struct Answers {
    /// Which request it is.
    pub request: RequestId,
    answers: mpsc::Receiver<Answer>,
    inbox: mpsc::Sender<Inbox>,
    ended: bool,
}

impl Answers {
    /// The next one; `None` after the last, or if the driver has ended.
    pub async fn next(&mut self) -> Option<Answer> {
        let answer = self.answers.recv().await;
        self.ended |= answer.as_ref().is_none_or(Answer::is_last);
        answer
    }

    /// The answer is long enough: its last message comes soon.
    pub fn stop(&self) {
        send(&self.inbox, Inbox::Stop(self.request));
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        if !self.ended {
            send(&self.inbox, Inbox::Cancel(self.request));
        }
    }
}

/// Sends without waiting: if the inbox is full, a task waits for room.
fn send(inbox: &mpsc::Sender<Inbox>, message: Inbox) {
    if let Err(mpsc::error::TrySendError::Full(message)) = inbox.try_send(message)
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        let inbox = inbox.clone();
        runtime.spawn(async move {
            let _ = inbox.send(message).await;
        });
    }
}

impl DriverHandle {
    /// Gives a request in.
    ///
    /// # Errors
    /// If the driver has ended.
    pub async fn submit(&self, submission: Submission) -> Result<Answers, Ended> {
        // All that can come finds room: the driver never waits for a client.
        let most = submission.prompt.output_max.0.min(ANSWER_MAX) as usize;
        let (answers, receiver) = mpsc::channel(most + 2);
        let (id, request) = oneshot::channel();
        let message = Inbox::Submit {
            submission,
            answers,
            id,
        };
        self.inbox.send(message).await.map_err(|_| Ended)?;
        Ok(Answers {
            request: request.await.map_err(|_| Ended)?,
            answers: receiver,
            inbox: self.inbox.clone(),
            ended: false,
        })
    }

    /// A node's connection stands; messages to it go into `link`. What it said over an earlier connection is void.
    ///
    /// # Errors
    /// If the driver has ended.
    pub async fn node_up(
        &self,
        node: NodeId,
        session: SessionId,
        link: mpsc::Sender<ToNode>,
    ) -> Result<(), Ended> {
        let message = Inbox::NodeUp {
            node,
            session,
            link,
        };
        self.inbox.send(message).await.map_err(|_| Ended)
    }

    /// A node's connection is gone.
    ///
    /// # Errors
    /// If the driver has ended.
    pub async fn node_down(&self, node: NodeId, session: SessionId) -> Result<(), Ended> {
        let message = Inbox::NodeDown { node, session };
        self.inbox.send(message).await.map_err(|_| Ended)
    }

    /// What a node says; waits if the driver has much to do.
    ///
    /// # Errors
    /// If the driver has ended.
    pub async fn said(
        &self,
        node: NodeId,
        session: SessionId,
        facts: Vec<FromNode>,
    ) -> Result<(), Ended> {
        let message = Inbox::Said {
            node,
            session,
            facts,
        };
        self.inbox.send(message).await.map_err(|_| Ended)
    }

    /// How things stand.
    ///
    /// # Errors
    /// If the driver has ended.
    pub async fn status(&self) -> Result<Status, Ended> {
        let (status, answer) = oneshot::channel();
        let message = Inbox::Status(status);
        self.inbox.send(message).await.map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }

    /// Ends the driver; its journal is complete when this returns.
    pub async fn end(&self) {
        let (done, wait) = oneshot::channel();
        if self.inbox.send(Inbox::End(done)).await.is_ok() {
            let _ = wait.await;
        }
    }
}

/// Where messages go: a channel each.
struct Channels {
    nodes: Vec<Option<(SessionId, mpsc::Sender<ToNode>)>>,
    clients: BTreeMap<RequestId, mpsc::Sender<Answer>>,
    /// Who is given in just now: its first answer may come before it has a number here.
    coming: Option<mpsc::Sender<Answer>>,
    /// Nodes that do not take their messages.
    stuck: Vec<NodeId>,
}

impl World for Channels {
    fn send(&mut self, node: NodeId, message: ToNode) {
        let Some((_, link)) = self.nodes.get(node.index()).and_then(Option::as_ref) else {
            return;
        };
        if link.try_send(message).is_err() {
            self.stuck.push(node);
        }
    }

    fn answer(&mut self, request: RequestId, answer: Answer) {
        let last = answer.is_last();
        let client = self.clients.get(&request).or(self.coming.as_ref());
        if let Some(client) = client {
            // A client that has gone says so by itself.
            let _ = client.try_send(answer);
        }
        if last {
            self.clients.remove(&request);
        }
    }
}

/// Starts the task of a fresh driver, all nodes down.
pub fn spawn<C: Clock + Sync>(
    cluster: &ClusterConfig,
    policy: &PolicyConfig,
    seed: u64,
    journal: Box<dyn Journal>,
    clock: C,
) -> (DriverHandle, JoinHandle<()>) {
    let channels = Channels {
        nodes: vec![None; cluster.nodes.len()],
        clients: BTreeMap::new(),
        coming: None,
        stuck: Vec::new(),
    };
    let driver = Driver::new(cluster, policy, seed, journal, channels);
    let (inbox, messages) = mpsc::channel(INBOX_MAX);
    let task = tokio::spawn(run(driver, messages, clock));
    (DriverHandle { inbox }, task)
}

async fn run<C: Clock>(
    mut driver: Driver<Channels>,
    mut messages: mpsc::Receiver<Inbox>,
    clock: C,
) {
    loop {
        let due = driver.due();
        let timer = async {
            match due {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            biased;
            message = messages.recv() => message,
            () = timer => {
                driver.timer(clock.now());
                give_up_stuck(&mut driver, &clock);
                continue;
            }
        };
        let ended = match message {
            Some(Inbox::End(done)) => Some(done),
            Some(message) => {
                take(&mut driver, message, &clock);
                give_up_stuck(&mut driver, &clock);
                continue;
            }
            None => None,
        };
        driver.end();
        if let Some(done) = ended {
            let _ = done.send(());
        }
        return;
    }
}

fn take<C: Clock>(driver: &mut Driver<Channels>, message: Inbox, clock: &C) {
    let now = clock.now();
    match message {
        Inbox::Submit {
            submission,
            answers,
            id,
        } => {
            driver.world().coming = Some(answers);
            let request = driver.submit(now, submission);
            let world = driver.world();
            let coming = world.coming.take();
            if driver.is_live(request)
                && let Some(coming) = coming
            {
                driver.world().clients.insert(request, coming);
            }
            if id.send(request).is_err() {
                driver.cancel(now, request);
                driver.world().clients.remove(&request);
            }
        }
        Inbox::Cancel(request) => {
            driver.cancel(now, request);
            driver.world().clients.remove(&request);
        }
        Inbox::Stop(request) => driver.stop(request),
        Inbox::NodeUp {
            node,
            session,
            link,
        } => {
            if let Some(place) = driver.world().nodes.get_mut(node.index())
                && place.as_ref().is_none_or(|(before, _)| *before < session)
            {
                *place = Some((session, link));
                driver.node_up(now, node);
            }
        }
        Inbox::NodeDown { node, session } => {
            if speaks(driver, node, session) {
                driver.world().nodes[node.index()] = None;
                driver.node_down(now, node);
            }
        }
        Inbox::Said {
            node,
            session,
            facts,
        } => {
            if speaks(driver, node, session) {
                driver.node_said(now, node, facts);
            }
        }
        Inbox::Status(answer) => {
            let _ = answer.send(status(driver));
        }
        Inbox::End(_) => {}
    }
}

/// True if that is the node's present connection.
fn speaks(driver: &mut Driver<Channels>, node: NodeId, session: SessionId) -> bool {
    let nodes = &driver.world().nodes;
    let present = nodes.get(node.index()).and_then(Option::as_ref);
    present.is_some_and(|&(present, _)| present == session)
}

/// A node that does not take its messages is gone; whoever keeps its connection finds the channel closed.
fn give_up_stuck<C: Clock>(driver: &mut Driver<Channels>, clock: &C) {
    while let Some(node) = driver.world().stuck.pop() {
        if driver.world().nodes[node.index()].take().is_some() {
            driver.node_down(clock.now(), node);
        }
    }
}

fn status(driver: &mut Driver<Channels>) -> Status {
    let up = driver.world().nodes.iter().map(Option::is_some).collect();
    let mut loads = Loads::default();
    driver.loads(&mut loads);
    Status {
        up,
        live: driver.live(),
        counters: *driver.counters(),
        counts: *driver.counts(),
        journal_lost: driver.journal_lost(),
        loads,
    }
}

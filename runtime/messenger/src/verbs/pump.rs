//! One connection's task: owns its queue pairs, posts what the machine (`paths.rs`) orders, and tells it what
//! completes.
//!
//! It alone touches the pairs, so nothing is locked and nothing is shared on the way of a block: an operation comes in
//! by a
//! queue, its slices are posted in batches with one report at each batch's end, and completions are taken here, woken
//! by
//! the device's event or by looking again and again. When the task ends, its pairs are destroyed before anybody is
//! told.

use super::device::{Ended, Memory, Pair, Request};
use super::endpoints::{EndpointId, Seat};
use super::message::{Ask, Opened, Tell};
use super::nics::{Nics, Registered};
use super::paths::{Do, Event, Failure, Notice, OpId, Part, Paths, Rules, Why};
use super::settings::{Completion, sequence};
use super::slices::Plan;
use super::windows::{Windows, attach};
use crate::error::Error;
use crate::gate::Permit;
use crate::net::lane::{Answer, Lane, Work, ask};
use crate::op::{Direction, Op};
use crate::secret::random_u64;
use conductor_core::ids::NodeId;
use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, spawn_blocking, yield_now};
use tokio::time::{Instant, sleep_until};

/// What links and the pool of endpoints want from the task.
pub(crate) enum Command {
    Do(Box<Job>),
    /// The path's seat is wanted.
    Evict(usize),
}

/// An operation, ready to be posted.
pub(crate) struct Job {
    pub(crate) op: Op,
    pub(crate) plan: Plan,
    /// The local region, registered with each device.
    pub(crate) local: Registered,
    /// What the key opens; `None` for a notice alone.
    pub(crate) opened: Option<Arc<Opened>>,
    pub(crate) limit: Duration,
    pub(crate) deadline: Instant,
    pub(crate) permit: Permit,
    pub(crate) tell: oneshot::Sender<Result<(), Error>>,
}

/// A device here and a port there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) device: usize,
    pub(crate) port: usize,
    pub(crate) rank: u8,
}

/// A pair that is connected.
struct Open {
    pair: Pair,
    ready: AsyncFd<OwnedFd>,
    /// Its number at the other end.
    other: u32,
    seat: Seat,
}

/// An order that took time has been carried out.
enum Answered {
    Opened(usize, Result<Box<Open>, Error>),
    Closed(usize, Result<(), Error>),
    Told(OpId, Result<(), Error>),
    Confirmed(OpId, Result<Arc<Opened>, Error>),
}

/// What the task needs to begin.
pub(crate) struct Start {
    pub(crate) nics: Arc<Nics>,
    pub(crate) lane: Arc<Lane>,
    pub(crate) windows: Arc<Windows>,
    pub(crate) node: NodeId,
    pub(crate) ways: Vec<Way>,
    /// How long a question over the connection may take.
    pub(crate) limit: Duration,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) own: mpsc::WeakSender<Command>,
}

/// The task's state.
struct Pump {
    start: Start,
    machine: Paths,
    open: Vec<Option<Box<Open>>>,
    jobs: BTreeMap<OpId, Box<Job>>,
    asks: JoinSet<Answered>,
    /// Orders to post on one path that have not been posted.
    batches: Vec<Vec<(u64, OpId, Part)>>,
    link: u64,
    last: u64,
    begun: Instant,
}

/// Runs until the link is dropped and all is done, or until the connection is lost.
pub(crate) async fn run(start: Start) {
    let settings = &start.nics.settings;
    let depth = start.nics.devices.iter().map(|device| device.depth()).min();
    let rules = Rules {
        depth: depth.unwrap_or(1),
        tries: settings.tries,
        pause: settings.pause,
    };
    let ranks = start.ways.iter().map(|way| way.rank);
    let mut pump = Pump {
        machine: Paths::new(ranks, rules),
        open: start.ways.iter().map(|_| None).collect(),
        jobs: BTreeMap::new(),
        asks: JoinSet::new(),
        batches: start.ways.iter().map(|_| Vec::new()).collect(),
        link: start.nics.endpoints.link(),
        last: 0,
        begun: Instant::now(),
        start,
    };
    pump.run().await;
}

impl Pump {
    async fn run(&mut self) {
        let mut closing = false;
        let polling = self.start.nics.settings.completion == Completion::Polling;
        let lane = self.start.lane.clone();
        let mut ended = std::pin::pin!(lane.ended());
        while !(closing && self.machine.is_idle()) {
            let wake = self.machine.wake().map(|at| self.begun + at);
            let busy = polling && self.machine.is_waiting();
            tokio::select! {
                () = &mut ended => break,
                command = self.start.commands.recv(), if !closing => match command {
                    Some(Command::Do(job)) => self.submit(job),
                    Some(Command::Evict(path)) => self.tell(Event::Evict(path)),
                    None => closing = true,
                },
                Some(answered) = self.asks.join_next(), if !self.asks.is_empty() => {
                    // A task that panicked is a bug, and is shown as one.
                    if !self.answered(answered.expect("no panic inside")) {
                        break;
                    }
                }
                path = ready(&self.open), if !busy => self.look(path, true),
                () = yield_now(), if busy => {
                    (0..self.open.len()).for_each(|path| self.look(path, false));
                }
                () = until(wake) => self.tell(Event::Tick),
            }
        }
        // Destroyed first: nothing touches local memory when operations are told that they have ended.
        self.asks.shutdown().await;
        destroy(std::mem::take(&mut self.open)).await;
        self.tell(Event::Lost);
        self.start.lane.close();
        // What came too late.
        self.start.commands.close();
        while let Some(command) = self.start.commands.recv().await {
            if let Command::Do(job) = command {
                let _ = job.tell.send(Err(lost(self.start.node, Why::Lost)));
            }
        }
    }

    fn submit(&mut self, job: Box<Job>) {
        let op = OpId(self.last);
        self.last += 1;
        let notice = match job
            .op
            .immediate
            .filter(|_| job.op.direction == Direction::Write)
        {
            None => Notice::None,
            Some(immediate) if immediate >> 32 == 0 => Notice::Wire,
            Some(_) => Notice::Connection,
        };
        let event = Event::Submitted {
            op,
            slices: job.plan.slices.len(),
            notice,
            deadline: job.deadline.saturating_duration_since(self.begun),
        };
        self.jobs.insert(op, job);
        self.tell(event);
    }

    /// Tells the machine a fact, and does what it orders.
    fn tell(&mut self, event: Event) {
        self.machine.handle(self.begun.elapsed(), event);
        loop {
            while let Some(order) = self.machine.order() {
                match order {
                    Do::Post {
                        path,
                        number,
                        op,
                        part,
                    } => self.batches[path].push((number, op, part)),
                    Do::Open(path) => self.connect(path),
                    Do::Close(path) => self.close(path),
                    Do::Tell(op) => self.give_notice(op),
                    Do::Confirm(op) => self.confirm(op),
                    Do::Finish(op, result) => self.finish(op, result),
                }
            }
            // Posting may fail, which is a fact again.
            let full = self.batches.iter().position(|batch| !batch.is_empty());
            let Some(path) = full else { return };
            if self.post(path).is_err() {
                let failed = Event::Failed(path, 0, Failure::Path);
                self.machine.handle(self.begun.elapsed(), failed);
            }
        }
    }

    fn post(&mut self, path: usize) -> Result<(), Error> {
        let mut batch = std::mem::take(&mut self.batches[path]);
        let way = self.start.ways[path];
        let Some(open) = &mut self.open[path] else {
            return Err(Error::Closed);
        };
        open.seat.touch();
        let jobs = &self.jobs;
        let requests = batch.iter().map(|&(number, op, part)| {
            (number, request(jobs.get(&op).map(Box::as_ref), way, part))
        });
        let posted = open.pair.post(requests);
        batch.clear();
        self.batches[path] = batch;
        posted
    }

    /// Takes what has completed on a path.
    fn look(&mut self, path: usize, woken: bool) {
        let mut seen = Vec::new();
        let Some(open) = &self.open[path] else { return };
        let mut broken = false;
        if woken {
            // Armed before the queue is emptied: what completes in between wakes again.
            broken = open.pair.events().is_err() || open.pair.arm().is_err();
        }
        while !broken {
            match open.pair.poll(&mut seen) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => broken = true,
            }
        }
        // The first that failed says why; those behind it only follow.
        let mut done = None;
        let mut failed = None;
        for (number, ended) in seen {
            match ended {
                Ended::Done | Ended::Notice(_) => done = Some(number),
                Ended::Access => failed = failed.or(Some((number, Failure::Access))),
                Ended::Flushed | Ended::Broken(_) => {
                    failed = failed.or(Some((number, Failure::Path)));
                }
            }
        }
        if let Some(number) = done {
            self.tell(Event::Completed(path, number));
        }
        if let Some((number, failure)) = failed {
            self.tell(Event::Failed(path, number, failure));
        } else if broken {
            self.tell(Event::Failed(path, 0, Failure::Path));
        }
    }

    fn limits(&self) -> (Duration, Instant) {
        (self.start.limit, Instant::now() + self.start.limit)
    }

    fn connect(&mut self, path: usize) {
        let (nics, lane, own) = (
            self.start.nics.clone(),
            self.start.lane.clone(),
            self.start.own.clone(),
        );
        let (way, limits) = (self.start.ways[path], self.limits());
        let id = EndpointId {
            link: self.link,
            path,
        };
        self.asks.spawn(async move {
            let open = async {
                let seat = nics.endpoints.seat(id, own, limits.1).await;
                let seat = seat.ok_or(Error::Deadline(limits.0))?;
                let device = &nics.devices[way.device];
                let mut pair = device.pair(sequence(random_u64()), 0)?;
                let port = way.port as u8;
                let end = pair.end();
                let asked = exchange(&lane, Ask::Pair { port, end }, limits).await?;
                let Tell::Pair(other) = asked else {
                    return Err(Error::Unanswered);
                };
                device.connect(&mut pair, &other)?;
                let failed = |error| Error::system("completion channel", error);
                let ready = pair.ready().map_err(failed)?;
                Ok(Box::new(Open {
                    pair,
                    ready,
                    other: other.number,
                    seat,
                }))
            };
            Answered::Opened(path, open.await)
        });
    }

    fn close(&mut self, path: usize) {
        self.batches[path].clear();
        let Some(open) = self.open[path].take() else {
            return;
        };
        let (lane, limits) = (self.start.lane.clone(), self.limits());
        let port = self.start.ways[path].port as u8;
        self.asks.spawn(async move {
            let number = open.other;
            // Here first: when it is destroyed, the device touches nothing of ours for it.
            destroy(open).await;
            let closed = exchange(&lane, Ask::Close { port, number }, limits).await;
            Answered::Closed(path, closed.map(|_| ()))
        });
    }

    fn give_notice(&mut self, op: OpId) {
        let immediate = self.jobs.get(&op).and_then(|job| job.op.immediate);
        let (lane, limits) = (self.start.lane.clone(), self.limits());
        self.asks.spawn(async move {
            let told = ask(&lane, Work::Notice(immediate.unwrap_or(0)), limits).await;
            Answered::Told(op, told.map(|_| ()))
        });
    }

    fn confirm(&mut self, op: OpId) {
        let Some(job) = self.jobs.get(&op) else {
            return;
        };
        let key = job.op.grant.key;
        self.start.windows.forget(key);
        let ports = self.start.ways.iter().map(|way| way.port + 1).max();
        let (lane, limits) = (self.start.lane.clone(), self.limits());
        self.asks.spawn(async move {
            Answered::Confirmed(op, attach(&lane, key, ports.unwrap_or(0), limits).await)
        });
    }

    /// False if the connection is of no use any more.
    fn answered(&mut self, answered: Answered) -> bool {
        match answered {
            Answered::Opened(path, Ok(open)) => {
                self.open[path] = Some(open);
                self.tell(Event::Opened(path));
            }
            Answered::Opened(path, Err(_)) => self.tell(Event::OpenFailed(path)),
            Answered::Closed(path, Ok(())) => self.tell(Event::Closed(path)),
            Answered::Told(op, Ok(())) => self.tell(Event::Told(op)),
            // Whether it happened is not known: only the end of the connection is a fact.
            Answered::Closed(_, Err(_)) | Answered::Told(_, Err(_)) => return false,
            Answered::Confirmed(op, Ok(opened)) => {
                if let Some(job) = self.jobs.get_mut(&op) {
                    self.start.windows.enter(job.op.grant.key, opened.clone());
                    job.opened = Some(opened);
                }
                self.tell(Event::Confirmed(op, true));
            }
            Answered::Confirmed(_, Err(error)) if error.is_passing() => return false,
            Answered::Confirmed(op, Err(_)) => self.tell(Event::Confirmed(op, false)),
        }
        true
    }

    fn finish(&mut self, op: OpId, result: Result<(), Why>) {
        let Some(job) = self.jobs.remove(&op) else {
            return;
        };
        let result = result.map_err(|why| match why {
            Why::Refused => Error::UnknownKey,
            Why::Overdue => Error::Deadline(job.limit),
            Why::NoPath | Why::Lost => lost(self.start.node, why),
        });
        // Nobody may be waiting any more.
        let _ = job.tell.send(result);
        drop(job.permit);
    }
}

fn lost(node: NodeId, why: Why) -> Error {
    let why = match why {
        Why::NoPath => "no path to it works",
        _ => "the connection ended",
    };
    Error::lost(node, why)
}

/// A question of this transport over the connection.
pub(crate) async fn exchange(
    lane: &Lane,
    question: Ask,
    limits: (Duration, Instant),
) -> Result<Tell, Error> {
    match ask(lane, Work::Exchange(question.to_bytes()), limits).await? {
        Answer::Reply(message) => Tell::parse(&message).ok_or(Error::Unanswered),
        _ => Err(Error::Unanswered),
    }
}

/// What a part is as a work request on a way. A job that is gone, or a notice alone, has no bytes.
fn request(job: Option<&Job>, way: Way, part: Part) -> Request<'_> {
    let immediate = |job: &Job| job.op.immediate.map(|word| word as u32);
    let (Some(job), Part::Slice(_) | Part::Only) = (job, part) else {
        let word = job.filter(|_| part == Part::Notice);
        return Request::Empty {
            immediate: word.and_then(immediate),
        };
    };
    let place = match part {
        Part::Slice(place) => place,
        _ => 0,
    };
    let slice = &job.plan.slices[place];
    let pieces = &job.plan.pieces[slice.pieces.clone()];
    let memory: &Memory = &job.local[way.device];
    let (base, rkey) = match &job.opened {
        Some(opened) => (opened.base, opened.rkeys[way.port]),
        None => (0, 0),
    };
    let address = base + slice.remote.offset;
    match job.op.direction {
        Direction::Write => Request::Write {
            from: memory,
            pieces,
            to: address,
            rkey,
            immediate: immediate(job).filter(|_| part == Part::Only),
        },
        Direction::Read => Request::Read {
            into: memory,
            pieces,
            from: address,
            rkey,
        },
    }
}

/// Drops queue pairs, which a device may take seconds for when its wire is gone.
async fn destroy<T: Send + 'static>(pairs: T) {
    // A runtime that ends drops what it does not run any more, the pairs with it.
    let _ended = spawn_blocking(move || drop(pairs)).await;
}

/// The next path with an event.
async fn ready(open: &[Option<Box<Open>>]) -> usize {
    poll_fn(|context| {
        for (path, open) in open.iter().enumerate() {
            let Some(open) = open else { continue };
            if let Poll::Ready(Ok(mut readable)) = open.ready.poll_read_ready(context) {
                readable.clear_ready();
                return Poll::Ready(path);
            }
        }
        Poll::Pending
    })
    .await
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => pending().await,
    }
}

//! The caller's side of a connection: sends operations, matches answers, keeps deadlines.
//!
//! One task (`run.rs`) does all three, so that when it ends, for whatever reason, nothing touches an operation's
//! memory any more, and every operation is then told why. Answers come in the order of questions. An operation that
//! has begun and is overdue takes the connection with it, because its bytes are somewhere on the way; one that has
//! not begun just leaves the queue.

mod run;

use super::inbox::{Broken, Inbox};
use super::socket::Socket;
use crate::error::Error;
use crate::gate::Permit;
use crate::op::{Key, Op};
use crate::wire::{Attached, Status};
use conductor_core::ids::NodeId;
use rustix::fd::OwnedFd;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

/// What is asked.
#[derive(Debug)]
pub(crate) enum Work {
    /// A read or write with its bytes over the connection.
    Op(Op),
    /// A notice alone.
    Notice(u64),
    Call(Vec<u8>),
    /// A question of the transport itself.
    #[cfg_attr(
        not(feature = "rdma"),
        expect(dead_code, reason = "only verbs has such questions")
    )]
    Exchange(Vec<u8>),
    Attach(Key),
    Ping,
}

/// What comes back.
#[derive(Debug)]
pub(crate) enum Answer {
    Done,
    Reply(Vec<u8>),
    /// The window, the region's file, the page of words.
    Attached(Attached, OwnedFd, OwnedFd),
}

type Finish = Box<dyn FnOnce(Result<Answer, Error>) + Send>;

/// One question, its limit, its room, and whom to tell.
pub(crate) struct Job {
    work: Work,
    limit: Duration,
    deadline: Instant,
    finish: Mutex<Option<(Finish, Option<Permit>)>>,
}

impl Job {
    pub(crate) fn new(
        work: Work,
        (limit, deadline): (Duration, Instant),
        permit: Option<Permit>,
        finish: impl FnOnce(Result<Answer, Error>) + Send + 'static,
    ) -> Self {
        Self {
            work,
            limit,
            deadline,
            finish: Mutex::new(Some((Box::new(finish), permit))),
        }
    }

    fn finish(&self, answer: Result<Answer, Error>) {
        let finish = self.finish.lock().expect("no panic inside").take();
        if let Some((finish, permit)) = finish {
            finish(answer);
            drop(permit);
        }
    }

    fn bytes(&self) -> u64 {
        match &self.work {
            Work::Op(op) => op.bytes,
            _ => 0,
        }
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<Job>>,
    sent: VecDeque<(u64, Arc<Job>)>,
    /// Bytes of both.
    load: u64,
    /// Takes nothing more.
    closing: bool,
    lost: Option<Error>,
}

struct Shared {
    node: NodeId,
    queue: Mutex<Queue>,
    /// There is something to send, or nothing more will come.
    to_send: Notify,
    /// The next deadline may be another one.
    to_watch: Notify,
}

/// A connection as its link sees it. Dropped, it finishes what it has and says goodbye.
pub(crate) struct Lane {
    shared: Arc<Shared>,
    ended: watch::Receiver<()>,
}

impl Lane {
    /// Runs a greeted connection.
    pub(crate) fn start(
        socket: Socket,
        inbox: Inbox,
        node: NodeId,
        heartbeat: Duration,
        checksum: bool,
    ) -> Self {
        let shared = Arc::new(Shared {
            node,
            queue: Mutex::default(),
            to_send: Notify::new(),
            to_watch: Notify::new(),
        });
        let (alive, ended) = watch::channel(());
        let run = run::run(shared.clone(), socket, inbox, heartbeat, checksum);
        tokio::spawn(async move {
            run.await;
            drop(alive);
        });
        Self { shared, ended }
    }

    /// Takes a question in; if the connection is lost or leaving, the answer says so.
    pub(crate) fn push(&self, job: Job) {
        let mut queue = self.shared.lock();
        let lost = queue.lost.clone();
        let leaving = || Error::lost(self.shared.node, Broken::Leaving);
        if let Some(error) = lost.or_else(|| queue.closing.then(leaving)) {
            drop(queue);
            job.finish(Err(error));
            return;
        }
        queue.load += job.bytes();
        queue.waiting.push_back(Arc::new(job));
        drop(queue);
        self.shared.to_send.notify_one();
        self.shared.to_watch.notify_one();
    }

    /// True if it takes nothing more.
    pub(crate) fn is_lost(&self) -> bool {
        let queue = self.shared.lock();
        queue.closing || queue.lost.is_some()
    }

    /// Bytes that have been taken in and are not done.
    pub(crate) fn load(&self) -> u64 {
        self.shared.lock().load
    }

    /// Takes nothing more; ends when all is done.
    pub(crate) fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.to_send.notify_one();
        self.shared.to_watch.notify_one();
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) {
        let _gone = self.ended.clone().changed().await;
    }
}

/// Asks, and waits for the answer.
pub(crate) async fn ask(
    lane: &Lane,
    work: Work,
    limits: (Duration, Instant),
) -> Result<Answer, Error> {
    let (tell, answer) = oneshot::channel();
    lane.push(Job::new(work, limits, None, move |answer| {
        // Nobody may be waiting any more.
        let _ = tell.send(answer);
    }));
    answer.await.unwrap_or(Err(Error::Closed))
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().expect("no panic inside")
    }

    /// The next question, entered among those that are sent before its first byte is; `None`: nothing more will come.
    async fn next(&self, id: u64) -> Option<Arc<Job>> {
        loop {
            {
                let mut queue = self.lock();
                if let Some(job) = queue.waiting.pop_front() {
                    queue.sent.push_back((id, job.clone()));
                    return Some(job);
                }
                if queue.closing {
                    return None;
                }
            }
            self.to_send.notified().await;
        }
    }

    /// The question that an answer belongs to: the oldest that was sent.
    fn front(&self, id: u64) -> Result<Arc<Job>, Broken> {
        match self.lock().sent.front() {
            Some((front, job)) if *front == id => Ok(job.clone()),
            _ => Err(Broken::Unexpected),
        }
    }

    fn answered(&self, answer: Result<Answer, Error>) {
        let job = {
            let mut queue = self.lock();
            let Some((_, job)) = queue.sent.pop_front() else {
                return;
            };
            queue.load -= job.bytes();
            job
        };
        job.finish(answer);
    }

    /// The peer takes nothing more: what it has not been sent has to go elsewhere.
    fn leave(&self) {
        let waiting = {
            let mut queue = self.lock();
            queue.closing = true;
            let waiting = std::mem::take(&mut queue.waiting);
            queue.load -= waiting.iter().map(|job| job.bytes()).sum::<u64>();
            waiting
        };
        for job in waiting {
            job.finish(Err(Error::lost(self.node, Broken::Leaving)));
        }
        self.to_send.notify_one();
    }
}

/// What a target's refusal means to the caller.
pub(crate) fn error(status: Status) -> Error {
    match status {
        Status::Rights => Error::Rights,
        Status::OutOfBounds => Error::OutOfBounds,
        Status::Checksum => Error::Checksum,
        Status::Unanswered => Error::Unanswered,
        Status::TooMany => Error::TooManyKeys,
        Status::Failed => Error::system("the peer", "a device of its own refused"),
        Status::Done | Status::UnknownKey => Error::UnknownKey,
    }
}

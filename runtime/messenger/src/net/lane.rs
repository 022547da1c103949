//! The caller's side of a connection: sends operations, matches answers, keeps deadlines.
//!
//! One task does all three, so that when it ends, for whatever reason, nothing touches an operation's memory any more, and
//! every operation is then told why. Answers come in the order of questions. An operation that has begun and is overdue takes
//! the connection with it, because its bytes are somewhere on the way; one that has not begun just leaves the queue.

use super::inbox::{Broken, Inbox};
use super::socket::Socket;
use crate::checksum::checksum;
use crate::error::Error;
use crate::gate::Permit;
use crate::op::{Direction, Key, Op};
use crate::region::Cursor;
use crate::wire::{self, Attached, Frame, Status};
use conductor_core::ids::NodeId;
use rustix::fd::OwnedFd;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

/// What is asked.
#[derive(Debug)]
pub(crate) enum Work {
    /// A read or write with its bytes over the connection.
    Op(Op),
    /// A notice alone.
    Notice(u64),
    Call(Vec<u8>),
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
        let run = run(shared.clone(), socket, inbox, heartbeat, checksum);
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

async fn run(
    shared: Arc<Shared>,
    socket: Socket,
    mut inbox: Inbox,
    heartbeat: Duration,
    checksum: bool,
) {
    let why = tokio::select! {
        broken = send(&shared, &socket, checksum) => broken,
        broken = receive(&shared, &socket, &mut inbox) => broken,
        broken = watch_time(&shared, heartbeat) => broken,
    };
    // Before anybody is told: from here on nothing of this connection comes or goes.
    drop((socket, inbox));
    let jobs = {
        let mut queue = shared.lock();
        queue.lost = Some(Error::lost(shared.node, &why));
        queue.load = 0;
        let sent = std::mem::take(&mut queue.sent);
        let waiting = std::mem::take(&mut queue.waiting);
        sent.into_iter().map(|(_, job)| job).chain(waiting)
    };
    let now = Instant::now();
    for job in jobs {
        let overdue = job.deadline <= now && !matches!(job.work, Work::Ping);
        job.finish(Err(match overdue {
            true => Error::Deadline(job.limit),
            false => Error::lost(shared.node, &why),
        }));
    }
}

async fn send(shared: &Shared, socket: &Socket, checked: bool) -> Broken {
    let mut id = 0;
    let mut head = Vec::with_capacity(256);
    while let Some(job) = shared.next(id).await {
        head.clear();
        if let Err(error) = send_one(socket, &mut head, id, &job.work, checked).await {
            return error.into();
        }
        id += 1;
    }
    Frame::Bye.encode({
        head.clear();
        &mut head
    });
    if let Err(error) = socket.send(&head).await {
        return error.into();
    }
    // The peer answers all that it was asked, and closes.
    std::future::pending().await
}

async fn send_one(
    socket: &Socket,
    head: &mut Vec<u8>,
    id: u64,
    work: &Work,
    checked: bool,
) -> std::io::Result<()> {
    let frame = match work {
        Work::Op(op) => return send_op(socket, head, id, op, checked || op.checked).await,
        Work::Notice(immediate) => Frame::Write(wire::Write {
            id,
            key: 0,
            bytes: 0,
            immediate: Some(*immediate),
            checksum: None,
            spans: Vec::new(),
        }),
        Work::Call(message) => Frame::Call {
            id,
            message: message.clone(),
        },
        Work::Attach(key) => Frame::Attach { id, key: key.0 },
        Work::Ping => Frame::Ping { id },
    };
    frame.encode(head);
    socket.send(head).await
}

async fn send_op(
    socket: &Socket,
    head: &mut Vec<u8>,
    id: u64,
    op: &Op,
    checked: bool,
) -> std::io::Result<()> {
    let (key, bytes, spans) = (op.grant.key.0, op.bytes, op.remote.to_vec());
    let mapping = op.region.mapping();
    if op.direction == Direction::Read {
        let checksum = checked;
        Frame::Read(wire::Read {
            id,
            key,
            bytes,
            checksum,
            spans,
        })
        .encode(head);
        return socket.send(head).await;
    }
    let checksum = match checked {
        true => Some(checksum(mapping, &op.local).await),
        false => None,
    };
    let immediate = op.immediate;
    Frame::Write(wire::Write {
        id,
        key,
        bytes,
        immediate,
        checksum,
        spans,
    })
    .encode(head);
    let mut cursor = Cursor::new(&op.local);
    socket
        .send_spans(head, mapping, &mut cursor, || Some(()))
        .await
}

async fn receive(shared: &Shared, socket: &Socket, inbox: &mut Inbox) -> Broken {
    loop {
        let received = match inbox.frame(socket, usize::MAX).await {
            Ok(Some(frame)) => answer(shared, socket, inbox, frame).await,
            Ok(None) => Err(Broken::Ended),
            Err(broken) => Err(broken),
        };
        if let Err(broken) = received {
            return broken;
        }
    }
}

async fn answer(
    shared: &Shared,
    socket: &Socket,
    inbox: &mut Inbox,
    frame: Frame,
) -> Result<(), Broken> {
    match frame {
        Frame::Bye => shared.leave(),
        Frame::Ack { id, status } => {
            let job = shared.front(id)?;
            let done = match (status, &job.work) {
                // A read that succeeds is answered by its bytes, a call by its reply.
                (Status::Done, Work::Op(op)) if op.direction == Direction::Read => {
                    return Err(Broken::Unexpected);
                }
                (Status::Done, Work::Call(_) | Work::Attach(_)) => return Err(Broken::Unexpected),
                (Status::Done, _) => Ok(Answer::Done),
                (failed, _) => Err(error(failed)),
            };
            shared.answered(done);
        }
        Frame::Reply { id, message } => {
            shared.front(id)?;
            shared.answered(Ok(Answer::Reply(message)));
        }
        Frame::Attached { id, attached } => {
            shared.front(id)?;
            let (Some(region), Some(page)) = (inbox.file(), inbox.file()) else {
                return Err(Broken::Unexpected);
            };
            shared.answered(Ok(Answer::Attached(attached, region, page)));
        }
        Frame::Data {
            id,
            bytes,
            checksum: sum,
        } => {
            let job = shared.front(id)?;
            let Work::Op(op) = &job.work else {
                return Err(Broken::Unexpected);
            };
            if op.direction != Direction::Read || bytes != op.bytes {
                return Err(Broken::Unexpected);
            }
            let mapping = op.region.mapping();
            let cursor = Cursor::new(&op.local);
            inbox.fill(socket, mapping, cursor, || Some(None)).await?;
            let fits = match sum {
                Some(sum) => sum == checksum(mapping, &op.local).await,
                None => true,
            };
            shared.answered(match fits {
                true => Ok(Answer::Done),
                false => Err(Error::Checksum),
            });
        }
        _ => return Err(Broken::Unexpected),
    }
    Ok(())
}

/// What a target's refusal means to the caller.
pub(crate) fn error(status: Status) -> Error {
    match status {
        Status::Rights => Error::Rights,
        Status::OutOfBounds => Error::OutOfBounds,
        Status::Checksum => Error::Checksum,
        Status::Unanswered => Error::Unanswered,
        Status::TooMany => Error::TooManyKeys,
        Status::Done | Status::UnknownKey => Error::UnknownKey,
    }
}

/// Ends when something is overdue; tries an idle connection now and then.
async fn watch_time(shared: &Shared, heartbeat: Duration) -> Broken {
    loop {
        let now = Instant::now();
        let (late, next) = {
            let mut queue = shared.lock();
            let Queue { waiting, sent, .. } = &mut *queue;
            if sent.iter().any(|(_, job)| job.deadline <= now) {
                let silent = sent.iter().all(|(_, job)| matches!(job.work, Work::Ping));
                return match silent {
                    true => Broken::Silent(heartbeat),
                    false => Broken::Overdue,
                };
            }
            let mut late = Vec::new();
            waiting.retain(|job| {
                let keep = job.deadline > now;
                if !keep {
                    late.push(job.clone());
                }
                keep
            });
            let sent = sent.iter().map(|(_, job)| job.deadline);
            let next = waiting.iter().map(|job| job.deadline).chain(sent).min();
            queue.load -= late.iter().map(|job| job.bytes()).sum::<u64>();
            (late, next)
        };
        for job in late {
            job.finish(Err(Error::Deadline(job.limit)));
        }
        // While something is under way, it has a deadline. Idle, the peer may vanish without a word.
        let idle = next.is_none();
        let wake = next.unwrap_or(now + heartbeat);
        tokio::select! {
            () = sleep_until(wake) => {
                let mut queue = shared.lock();
                let still_idle = queue.waiting.is_empty() && queue.sent.is_empty();
                // It has been told that this is all, and does not close.
                if idle && still_idle && queue.closing {
                    return Broken::Leaving;
                }
                if idle && still_idle {
                    let limits = (heartbeat, Instant::now() + heartbeat);
                    let ping = Job::new(Work::Ping, limits, None, |_| {});
                    queue.waiting.push_back(Arc::new(ping));
                    shared.to_send.notify_one();
                }
            }
            () = shared.to_watch.notified() => {}
        }
    }
}

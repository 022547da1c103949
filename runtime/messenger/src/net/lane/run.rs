//! The task of a lane: sends, receives and watches the time until one of the three ends.

use super::{Answer, Job, Queue, Shared, Work, error};
use crate::checksum::checksum;
use crate::error::Error;
use crate::net::inbox::{Broken, Inbox};
use crate::net::socket::Socket;
use crate::op::{Direction, Op};
use crate::region::Cursor;
use crate::wire::{self, Frame, Status};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Runs a connection to its end, then tells all who wait for an answer.
pub(super) async fn run(
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
        Work::Exchange(message) => Frame::Exchange {
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
                (Status::Done, Work::Call(_) | Work::Attach(_) | Work::Exchange(_)) => {
                    return Err(Broken::Unexpected);
                }
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

//! The thread of a link that copies, piece by piece.

use super::attach::Attachment;
use crate::error::Error;
use crate::gate::Permit;
use crate::net::lane::{Answer, Job, Lane, Work};
use crate::op::{Direction, Op};
use crate::region::Cursor;
use conductor_core::ids::NodeId;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// As much as is copied before the thread looks whether it still may: about 0.1 ms.
const PIECE: u64 = 1 << 20;

/// An operation on its way.
pub(crate) struct Copy {
    pub(crate) op: Op,
    pub(crate) lane: Arc<Lane>,
    /// None: nothing to copy.
    pub(crate) attachment: Option<Arc<Attachment>>,
    pub(crate) node: NodeId,
    pub(crate) limits: (Duration, Instant),
    pub(crate) permit: Permit,
    pub(crate) tell: oneshot::Sender<Result<(), Error>>,
}

/// Ends when it is dropped and has done what it has. The link's gate bounds what waits here.
pub(crate) struct Copier(Sender<Copy>);

impl Copier {
    pub(crate) fn start() -> Result<Self, Error> {
        let (sender, receiver) = channel();
        std::thread::Builder::new()
            .name("kv-copier".into())
            .spawn(move || run(&receiver))
            .map_err(|error| Error::system("starting a thread", error))?;
        Ok(Self(sender))
    }

    pub(crate) fn push(&self, copy: Copy) -> Result<(), Error> {
        self.0.send(copy).map_err(|_| Error::Closed)
    }
}

fn run(receiver: &Receiver<Copy>) {
    for copy in receiver {
        let done = move_bytes(&copy);
        let Copy {
            op,
            lane,
            limits,
            permit,
            tell,
            ..
        } = copy;
        let wants_notice = op.direction == Direction::Write && done.is_ok();
        let notice = op.immediate.filter(|_| wants_notice);
        let Some(immediate) = notice else {
            drop((lane, permit));
            // Nobody may be waiting any more.
            let _ = tell.send(done);
            continue;
        };
        let finish = move |answer: Result<Answer, Error>| {
            let _ = tell.send(answer.map(|_| ()));
        };
        let work = Work::Notice(immediate);
        lane.push(Job::new(work, limits, Some(permit), finish));
    }
}

fn move_bytes(copy: &Copy) -> Result<(), Error> {
    let (op, (limit, deadline)) = (&copy.op, copy.limits);
    let lost = || Error::lost(copy.node, "the connection ended");
    if let Some(attachment) = &copy.attachment {
        let (ours, theirs) = (op.region.mapping(), &*attachment.mapping);
        let (mut local, mut remote) = (Cursor::new(&op.local), Cursor::new(&op.remote));
        while let (Some(here), Some(there)) = (local.piece(PIECE), remote.piece(PIECE)) {
            let bytes = here.bytes.min(there.bytes);
            if Instant::now() >= deadline {
                return Err(Error::Deadline(limit));
            }
            // The peer closes our words both when it revokes a key and when it loses the connection.
            let Some(_inside) = attachment.enter() else {
                return Err(if copy.lane.is_lost() {
                    lost()
                } else {
                    Error::UnknownKey
                });
            };
            match op.direction {
                Direction::Write => theirs.copy(there.offset, ours, here.offset, bytes),
                Direction::Read => ours.copy(here.offset, theirs, there.offset, bytes),
            }
            local.advance(bytes);
            remote.advance(bytes);
        }
    }
    // A copy into the memory of a process that is gone has reached nobody.
    if copy.lane.is_lost() {
        return Err(lost());
    }
    Ok(())
}

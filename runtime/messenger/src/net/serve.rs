//! The listener's side of a connection: answers one frame after the other.
//!
//! Keys, rights and bounds are checked before a byte is received into memory; what is not allowed is received and
//! forgotten, so the connection goes on. A notice is put into the application's queue before the write is
//! acknowledged: if the queue is full, this connection stands still, and its caller's operations wait for it or for
//! their deadlines. Memory per connection: one frame's body, and one answer.

use super::endpoint::Endpoint;
use super::inbox::{Broken, Inbox};
use super::session::Session;
use super::socket::Socket;
use crate::checksum::checksum;
use crate::guard::Inside;
use crate::keys::{Slot, Window};
use crate::op::{Direction, Key, Notice};
use crate::region::raw::Mapping;
use crate::region::{Cursor, SIZE_IS_FIXED};
use crate::wire::{Attached, Frame, MESSAGE_MAX, Read, Status, Write};
use conductor_core::ids::NodeId;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::MemfdFlags;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::timeout;

/// Words of a connection's page: as many keys as a process on this machine has open at a time.
const WORDS: usize = 2048;

/// One connection that is served.
pub(crate) struct Served<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) socket: &'a Socket,
    pub(crate) node: NodeId,
    pub(crate) process: Option<Arc<OwnedFd>>,
    pub(crate) slots: Slots,
    pub(crate) session: Option<Box<dyn Session>>,
}

/// The words through which a process on this machine enters windows, made when it first attaches to one.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    page: Option<(Arc<Mapping>, OwnedFd)>,
    used: Vec<Arc<Slot>>,
}

impl Drop for Slots {
    /// The connection is gone: nobody enters by it any more. Who is inside is still waited for.
    fn drop(&mut self) {
        self.used.iter().for_each(|slot| slot.close());
    }
}

/// Serves until the peer leaves or breaks the rules. Dropped at any time, it leaves nothing half done but bytes.
pub(crate) async fn serve(mut served: Served<'_>, inbox: &mut Inbox) -> Result<(), Broken> {
    let mut leaving = served.endpoint.leaving.subscribe();
    let mut told = false;
    loop {
        let frame = tokio::select! {
            biased;
            () = raised(&mut leaving), if !told => None,
            frame = inbox.frame(served.socket, usize::MAX) => Some(frame?),
        };
        let Some(frame) = frame else {
            told = true;
            served.answer(&Frame::Bye).await?;
            continue;
        };
        // Only the listener sends descriptors.
        if inbox.file().is_some() {
            return Err(Broken::Unexpected);
        }
        match frame {
            None | Some(Frame::Bye) => return Ok(()),
            Some(Frame::Write(write)) => served.write(inbox, write).await?,
            Some(Frame::Read(read)) => served.read(read).await?,
            Some(Frame::Ping { id }) => served.ack(id, Status::Done).await?,
            Some(Frame::Call { id, message }) => {
                let answer = served.endpoint.handler.call(served.node, &message);
                match answer.filter(|answer| answer.len() <= MESSAGE_MAX) {
                    Some(message) => served.answer(&Frame::Reply { id, message }).await?,
                    None => served.ack(id, Status::Unanswered).await?,
                }
            }
            Some(Frame::Exchange { id, message }) => {
                let Some(session) = &mut served.session else {
                    return Err(Broken::Unexpected);
                };
                match session.exchange(served.endpoint, message).await {
                    Ok(message) => served.answer(&Frame::Reply { id, message }).await?,
                    Err(status) => served.ack(id, status).await?,
                }
            }
            Some(Frame::Attach { id, key }) if served.socket.is_unix() => {
                served.attach(id, Key(key)).await?;
            }
            Some(_) => return Err(Broken::Unexpected),
        }
    }
}

async fn raised(flag: &mut watch::Receiver<bool>) {
    // A sender that is gone will not raise it any more, and has nobody left to serve.
    let _raised = flag.wait_for(|&raised| raised).await;
}

impl Served<'_> {
    async fn answer(&self, frame: &Frame) -> Result<(), Broken> {
        let mut bytes = Vec::with_capacity(64);
        frame.encode(&mut bytes);
        self.patiently(self.socket.send(&bytes)).await
    }

    async fn ack(&self, id: u64, status: Status) -> Result<(), Broken> {
        self.answer(&Frame::Ack { id, status }).await
    }

    /// A peer that does not take its answers is as silent as one that does not ask.
    async fn patiently(
        &self,
        send: impl Future<Output = std::io::Result<()>>,
    ) -> Result<(), Broken> {
        let idle = self.endpoint.options.idle;
        let sent = timeout(idle, send).await;
        Ok(sent.map_err(|_| Broken::Silent(idle))??)
    }

    fn window(
        &self,
        key: u64,
        direction: Direction,
        bytes: u64,
        spans: &[crate::region::Span],
    ) -> Result<Arc<Window>, Status> {
        if bytes > self.endpoint.options.op_bytes_max {
            return Err(Status::OutOfBounds);
        }
        let keys = &self.endpoint.keys;
        keys.check(Key(key), self.node, direction, spans)
    }

    async fn write(&self, inbox: &mut Inbox, write: Write) -> Result<(), Broken> {
        // Without spans it is only a notice, which needs no key.
        let status = if write.spans.is_empty() {
            Status::Done
        } else {
            self.receive(inbox, &write).await?
        };
        if let (Status::Done, Some(immediate)) = (status, write.immediate) {
            let notice = Notice {
                node: self.node,
                immediate,
            };
            // The application may have gone before its transport: then nobody reads notices, and nobody should write.
            let taken = self.endpoint.notices.send(notice).await;
            taken.map_err(|_| Broken::Leaving)?;
        }
        self.ack(write.id, status).await
    }

    async fn receive(&self, inbox: &mut Inbox, write: &Write) -> Result<Status, Broken> {
        let window = match self.window(write.key, Direction::Write, write.bytes, &write.spans) {
            Ok(window) => window,
            Err(status) => {
                inbox.discard(self.socket, write.bytes).await?;
                return Ok(status);
            }
        };
        let (mapping, cursor) = (window.region.mapping(), Cursor::new(&write.spans));
        let may = || window.enter().map(Some);
        if !inbox.fill(self.socket, mapping, cursor, may).await? {
            return Ok(Status::UnknownKey);
        }
        Ok(match write.checksum {
            Some(sum) if sum != checksum(mapping, &write.spans).await => Status::Checksum,
            _ => Status::Done,
        })
    }

    async fn read(&self, read: Read) -> Result<(), Broken> {
        let window = match self.window(read.key, Direction::Read, read.bytes, &read.spans) {
            Ok(window) => window,
            Err(status) => return self.ack(read.id, status).await,
        };
        let mapping = window.region.mapping();
        let sum = match read.checksum {
            true => Some(checksum(mapping, &read.spans).await),
            false => None,
        };
        let mut head = Vec::with_capacity(64);
        let data = Frame::Data {
            id: read.id,
            bytes: read.bytes,
            checksum: sum,
        };
        data.encode(&mut head);
        let mut cursor = Cursor::new(&read.spans);
        // Revoked in the middle, the promised bytes cannot follow: the connection ends, as with a deregistered region.
        let may = || -> Option<Inside<'_>> { window.enter() };
        let send = self.socket.send_spans(&head, mapping, &mut cursor, may);
        self.patiently(send).await
    }

    async fn attach(&mut self, id: u64, key: Key) -> Result<(), Broken> {
        let window = match self.endpoint.keys.window(key, self.node) {
            Ok(window) => window,
            Err(status) => return self.ack(id, status).await,
        };
        let Some(slot) = self.slot()? else {
            return self.ack(id, Status::TooMany).await;
        };
        if !window.attach(slot.clone()) {
            return self.ack(id, Status::UnknownKey).await;
        }
        self.slots.used.push(slot.clone());
        let attached = Attached {
            region: window.region.id(),
            region_bytes: window.region.bytes(),
            window: window.access.window,
            rights: window.access.rights.bits(),
            slot: slot.index as u32,
            generation: slot.generation,
        };
        let mut bytes = Vec::with_capacity(64);
        Frame::Attached { id, attached }.encode(&mut bytes);
        let page = self.slots.page.as_ref().expect("made with the slot");
        let region = window.region.file_for(window.access.rights.write)?;
        let files = [region.as_fd(), page.1.as_fd()];
        let send = self.socket.send_files(&bytes, &files);
        self.patiently(send).await
    }

    /// A word that nobody uses: a new one, or one whose key was revoked and that nobody is inside of.
    fn slot(&mut self) -> Result<Option<Arc<Slot>>, Broken> {
        if self.slots.page.is_none() {
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            let file = rustix::fs::memfd_create("kv-words", flags).map_err(std::io::Error::from)?;
            let bytes = WORDS * 8;
            rustix::fs::ftruncate(&file, bytes as u64).map_err(std::io::Error::from)?;
            rustix::fs::fcntl_add_seals(&file, SIZE_IS_FIXED).map_err(std::io::Error::from)?;
            let page = Mapping::new(file.as_fd(), bytes, true, false)?;
            self.slots.page = Some((Arc::new(page), file));
        }
        let page = &self.slots.page.as_ref().expect("just made").0;
        let used = &mut self.slots.used;
        let (index, generation) = if used.len() < WORDS {
            (used.len(), 0)
        } else {
            let free = used
                .iter()
                .position(|slot| !slot.is_open() && slot.is_empty());
            let Some(free) = free else {
                return Ok(None);
            };
            let slot = used.swap_remove(free);
            (slot.index, slot.generation.wrapping_add(1))
        };
        Ok(Some(Arc::new(Slot {
            page: page.clone(),
            index,
            generation,
            node: self.node,
            process: self.process.clone(),
        })))
    }
}

//! The receiving end of a connection: frames out of a stream of bytes, and the bytes of blocks past them.
//!
//! Heads and bodies go through a small buffer; of a block only the few bytes that came with its frame do, all others
//! are received where they belong. Memory is bounded by the longest body. Waiting for a frame can be given up and
//! begun again without loss: what has come so far stays here.

use super::socket::Socket;
use crate::guard::Inside;
use crate::region::Cursor;
use crate::region::raw::Mapping;
use crate::wire::{Frame, HEAD_BYTES, Head, Malformed};
use rustix::fd::OwnedFd;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// Holds a frame with a few dozen spans; more would be blocks' bytes that are copied twice.
const BUFFER: usize = 2048;

/// Why a connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("not a frame: {0}")]
    Malformed(#[from] Malformed),
    #[error("the connection ended")]
    Ended,
    #[error("silent for {0:?}")]
    Silent(Duration),
    #[error("a frame that has no place here")]
    Unexpected,
    #[error("an operation was overdue")]
    Overdue,
    #[error("the peer is leaving")]
    Leaving,
}

#[derive(Debug)]
pub(crate) struct Inbox {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    head: Option<Head>,
    body: Vec<u8>,
    files: VecDeque<OwnedFd>,
    patience: Option<Duration>,
}

impl Inbox {
    /// Waits for ever, or until nothing has come for as long as `patience`.
    pub(crate) fn new(patience: Option<Duration>) -> Self {
        Self {
            buffer: vec![0; BUFFER].into(),
            start: 0,
            end: 0,
            head: None,
            body: Vec::new(),
            files: VecDeque::new(),
            patience,
        }
    }

    pub(crate) fn patience(&mut self, patience: Option<Duration>) {
        self.patience = patience;
    }

    /// The next descriptor that came with a frame.
    pub(crate) fn file(&mut self) -> Option<OwnedFd> {
        self.files.pop_front()
    }

    /// The next frame, with a body of `limit` bytes at most; `None` at the stream's end, if that is not within a frame.
    pub(crate) async fn frame(
        &mut self,
        socket: &Socket,
        limit: usize,
    ) -> Result<Option<Frame>, Broken> {
        let head = match self.head {
            Some(head) => head,
            None => {
                while self.end - self.start < HEAD_BYTES {
                    if !self.more(socket).await? {
                        let whole = self.end == self.start;
                        return if whole { Ok(None) } else { Err(Broken::Ended) };
                    }
                }
                let head = self.buffer[self.start..].first_chunk();
                let head = Head::parse(*head.expect("it is there"))?;
                if head.body > limit {
                    return Err(Malformed::Length(head.body).into());
                }
                self.start += HEAD_BYTES;
                self.head = Some(head);
                self.body.clear();
                head
            }
        };
        while self.body.len() < head.body {
            if self.start == self.end && !self.more(socket).await? {
                return Err(Broken::Ended);
            }
            let take = (head.body - self.body.len()).min(self.end - self.start);
            let bytes = &self.buffer[self.start..self.start + take];
            self.body.extend_from_slice(bytes);
            self.start += take;
        }
        self.head = None;
        Ok(Some(Frame::parse(head, &self.body)?))
    }

    /// Receives the bytes that follow a frame into memory. `may` is asked for every piece; what it does not allow is
    /// received and forgotten. Says whether all bytes are in place.
    pub(crate) async fn fill<'g>(
        &mut self,
        socket: &Socket,
        mapping: &Mapping,
        mut cursor: Cursor<'_>,
        may: impl Fn() -> Option<Option<Inside<'g>>>,
    ) -> Result<bool, Broken> {
        while self.start < self.end && cursor.left() > 0 {
            let Some(piece) = cursor.piece((self.end - self.start) as u64) else {
                break;
            };
            let Some(_inside) = may() else {
                self.discard(socket, cursor.left()).await?;
                return Ok(false);
            };
            let take = piece.bytes as usize;
            mapping.store(piece.offset, &self.buffer[self.start..self.start + take]);
            self.start += take;
            cursor.advance(piece.bytes);
        }
        while cursor.left() > 0 {
            let receive = socket.receive_spans(mapping, &mut cursor, &may);
            match patient(self.patience, receive).await? {
                Some(0) => return Err(Broken::Ended),
                Some(_) => {}
                None => {
                    self.discard(socket, cursor.left()).await?;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Receives and forgets.
    pub(crate) async fn discard(&mut self, socket: &Socket, mut bytes: u64) -> Result<(), Broken> {
        while bytes > 0 {
            if self.start == self.end && !self.more(socket).await? {
                return Err(Broken::Ended);
            }
            let take = bytes.min((self.end - self.start) as u64);
            self.start += take as usize;
            bytes -= take;
        }
        Ok(())
    }

    /// Receives into the buffer; false at the stream's end.
    async fn more(&mut self, socket: &Socket) -> Result<bool, Broken> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let receive = socket.receive(&mut self.buffer[self.end..], &mut self.files);
        let got = patient(self.patience, receive).await?;
        self.end += got;
        Ok(got > 0)
    }
}

async fn patient<T>(
    patience: Option<Duration>,
    receive: impl Future<Output = io::Result<T>>,
) -> Result<T, Broken> {
    match patience {
        None => Ok(receive.await?),
        Some(limit) => match timeout(limit, receive).await {
            Ok(got) => Ok(got?),
            Err(_) => Err(Broken::Silent(limit)),
        },
    }
}

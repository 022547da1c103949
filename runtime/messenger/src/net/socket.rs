//! A connected socket, TCP or Unix: bytes straight from a region and straight into one.

use crate::region::raw::{Mapping, PIECES_MAX};
use crate::region::{Cursor, Span};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

/// As much as is received at once: a task looks up from it for revocation and for its neighbours.
const RECEIVE_MAX: u64 = 1 << 20;
/// Descriptors that wait to be picked up: one answer has two.
const FILES_MAX: usize = 4;

#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// A TCP connection without delays, that finds out when its peer's machine is gone.
    pub(crate) fn tcp(stream: TcpStream, patience: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let millis = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        rustix::net::sockopt::set_tcp_user_timeout(&stream, millis)?;
        rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
        Ok(Self::Tcp(stream))
    }

    pub(crate) fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    async fn when<R>(
        &self,
        interest: Interest,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        match self {
            Self::Tcp(stream) => stream.async_io(interest, || call(stream.as_fd())).await,
            Self::Unix(stream) => stream.async_io(interest, || call(stream.as_fd())).await,
        }
    }

    /// Sends all of `bytes`.
    pub(crate) async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.send_files(bytes, &[]).await
    }

    /// Sends all of `bytes`, with descriptors at the first of them (Unix sockets only).
    pub(crate) async fn send_files(
        &self,
        bytes: &[u8],
        files: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let (mut sent, mut files) = (0, files);
        while sent < bytes.len() {
            let call = |socket: BorrowedFd<'_>| {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                let bytes = [IoSlice::new(&bytes[sent..])];
                let sent = rustix::net::sendmsg(socket, &bytes, &mut control, SendFlags::NOSIGNAL)?;
                Ok(sent)
            };
            sent += self.when(Interest::WRITABLE, call).await?;
            files = &[];
        }
        Ok(())
    }

    /// Sends all of `head`, and behind it all that `cursor` visits. `may` is asked before each system call, with what
    /// it gives kept for its length; `None` stops with the error that the other side is not allowed to have the rest.
    pub(crate) async fn send_spans<G>(
        &self,
        mut head: &[u8],
        mapping: &Mapping,
        cursor: &mut Cursor<'_>,
        may: impl Fn() -> Option<G>,
    ) -> io::Result<()> {
        while !head.is_empty() || cursor.left() > 0 {
            let mut pieces = [Span::new(0, 0); PIECES_MAX];
            let pieces = cursor.pieces(&mut pieces, PIECES_MAX - 1, u64::MAX);
            let call = |socket: BorrowedFd<'_>| {
                let _inside = may().ok_or(io::ErrorKind::PermissionDenied)?;
                mapping.send(socket, head, pieces)
            };
            let sent = self.when(Interest::WRITABLE, call).await?;
            let of_head = sent.min(head.len());
            head = &head[of_head..];
            cursor.advance((sent - of_head) as u64);
        }
        Ok(())
    }

    /// Receives what is there, at least a byte unless the stream has ended, and descriptors that come with it.
    pub(crate) async fn receive(
        &self,
        into: &mut [u8],
        files: &mut VecDeque<OwnedFd>,
    ) -> io::Result<usize> {
        if let Self::Tcp(_) = self {
            let call = |socket: BorrowedFd<'_>| Ok(rustix::io::read(socket, &mut *into)?);
            return self.when(Interest::READABLE, call).await;
        }
        let call = |socket: BorrowedFd<'_>| {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut bytes = [IoSliceMut::new(into)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let got = rustix::net::recvmsg(socket, &mut bytes, &mut control, flags)?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    files.extend(rights);
                }
            }
            match files.len() > FILES_MAX {
                true => Err(io::ErrorKind::InvalidData.into()),
                false => Ok(got.bytes),
            }
        };
        self.when(Interest::READABLE, call).await
    }

    /// Receives into what `cursor` visits, once, and moves it. `None` from `may` leaves memory alone: `Ok(None)`.
    pub(crate) async fn receive_spans<G>(
        &self,
        mapping: &Mapping,
        cursor: &mut Cursor<'_>,
        may: impl Fn() -> Option<G>,
    ) -> io::Result<Option<usize>> {
        let mut pieces = [Span::new(0, 0); PIECES_MAX];
        let pieces = cursor.pieces(&mut pieces, PIECES_MAX, RECEIVE_MAX);
        let call = |socket: BorrowedFd<'_>| match may() {
            Some(_inside) => mapping.receive(socket, pieces).map(Some),
            None => Ok(None),
        };
        let got = self.when(Interest::READABLE, call).await?;
        cursor.advance(got.unwrap_or(0) as u64);
        Ok(got)
    }
}

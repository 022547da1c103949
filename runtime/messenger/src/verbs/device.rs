//! The only file that knows `sideway` and the verbs below it: devices, registered memory, queue pairs, completions.
//!
//! What is unsafe about verbs is that a device reads and writes memory by itself. So three things hold here:
//!
//! - Memory is registered by [`Memory`] alone, which keeps its [`Region`] mapped until it is deregistered.
//! - A work request names memory by a [`Memory`] and spans within it, which are checked here once more.
//! - Who owns a [`Pair`] keeps the `Memory` of all that was posted on it alive until it has completed or the pair is
//!   dropped: a dropped pair is destroyed, and then its device touches nothing any more. (Deregistering memory that is
//!   in use is not undefined behaviour either: the device refuses, and the pair breaks.)
//!
//! Completion queues are basic ones: the extended ones of Soft-RoCE in rdma-core 44 report completions that never were.
//! Each pair has a queue and a channel of its own, so nothing of a pair that is gone can be taken for another's.
#![allow(unsafe_code)]

use super::message::{End, Port};
use super::settings::Settings;
use super::topology::Nic;
use crate::error::Error;
use crate::op::Rights;
use crate::region::{Region, Span};
use rdma_mummy_sys::{ibv_ack_cq_events, ibv_get_cq_event, ibv_req_notify_cq, ibv_sge};
use sideway::ibverbs::AccessFlags;
use sideway::ibverbs::address::{AddressHandleAttribute, Gid};
use sideway::ibverbs::completion::{
    BasicCompletionQueue, CompletionChannel, CompletionQueue, GenericCompletionQueue,
    PollCompletionQueueError, WorkCompletionOperationType, WorkCompletionStatus,
};
use sideway::ibverbs::device::{DeviceInfo, DeviceList};
use sideway::ibverbs::device_context::{DeviceContext, Mtu};
use sideway::ibverbs::protection_domain::ProtectionDomain;
use sideway::ibverbs::queue_pair::{
    BasicQueuePair, PostSendGuard, QueuePair, QueuePairAttribute, QueuePairState,
    SetScatterGatherEntry, WorkRequestFlags,
};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::null_mut;
use std::sync::Arc;
use tokio::io::unix::AsyncFd;

/// The receiver's pause before it wants a notice again for which it had no room: 0.64 ms, in the verbs' code.
const NOT_READY_PAUSE: u8 = 12;
/// Notices are tried without end: the operation's deadline ends that.
const NOT_READY_RETRIES: u8 = 7;

/// Whether the library is there and knows devices; a line that says why not.
pub(crate) fn library() -> Result<Vec<String>, String> {
    match DeviceList::new() {
        Ok(list) => Ok(list.iter().map(|device| device.name()).collect()),
        Err(error) => {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            let code = cause
                .downcast_ref::<io::Error>()
                .and_then(io::Error::raw_os_error);
            Err(match code {
                Some(libc::EOPNOTSUPP) => {
                    "libibverbs.so.1 cannot be loaded (package libibverbs1)".into()
                }
                Some(libc::ENOSYS) => {
                    "the kernel has no RDMA (module ib_uverbs is not loaded)".into()
                }
                _ => format!("no list of devices: {cause}"),
            })
        }
    }
}

/// An opened port of a device.
pub(crate) struct Device {
    pub(crate) name: String,
    /// What peers have to know.
    pub(crate) port: Port,
    number: u8,
    gid_index: u8,
    /// Local pieces of a work request, at most.
    pub(crate) pieces: usize,
    depth: u32,
    reads: u8,
    domain: Arc<ProtectionDomain>,
    context: Arc<DeviceContext>,
    settings: Settings,
}

impl Device {
    /// Opens the port of a NIC that sysfs has shown.
    pub(crate) fn open(nic: &Nic, settings: &Settings) -> Result<Self, Error> {
        let failed = |what: &str, why: &dyn std::fmt::Display| {
            Error::system(
                "RDMA",
                format!("{} port {}: {what}: {why}", nic.name, nic.port),
            )
        };
        let list = DeviceList::new();
        let list = list.map_err(|_| Error::system("RDMA", library().err().unwrap_or_default()))?;
        let device = list.iter().find(|device| device.name() == nic.name);
        let device = device.ok_or_else(|| failed("opening", &"libibverbs does not know it"))?;
        let context = device.open().map_err(|error| failed("opening", &error))?;
        let attributes = context.query_device();
        let attributes = attributes.map_err(|error| failed("asking for its limits", &error))?;
        let port = context.query_port(nic.port);
        let port = port.map_err(|error| failed("asking for its state", &error))?;
        let gid = nic.gid(settings.gid_index);
        let gid = gid.ok_or_else(|| failed("address", &"no fitting entry in its GID table"))?;
        let domain = context
            .alloc_pd()
            .map_err(|error| failed("protection domain", &error))?;
        let limit = |most: i32| u32::try_from(most).unwrap_or(0).max(1);
        let pieces = limit(attributes.max_sge()).min(settings.pieces.into());
        let reads = limit(attributes.max_qp_rd_atom()).min(settings.reads.into());
        Ok(Self {
            name: nic.name.clone(),
            port: Port {
                gid: gid.address,
                lid: port.lid(),
                mtu: bytes_of(port.active_mtu()),
                ethernet: nic.ethernet,
            },
            number: nic.port,
            gid_index: gid.index,
            pieces: pieces as usize,
            depth: limit(attributes.max_qp_wr()).min(settings.depth.into()),
            reads: reads as u8,
            domain,
            context,
            settings: settings.clone(),
        })
    }

    /// Work requests of a pair at a time.
    pub(crate) fn depth(&self) -> usize {
        self.depth as usize
    }

    fn failed(&self, what: &str, why: impl std::fmt::Display) -> Error {
        Error::system("RDMA", format!("{}: {what}: {why}", self.name))
    }

    /// Lets this device use memory, and peers as far as `rights` go (`None`: not at all).
    pub(crate) fn register(
        &self,
        region: &Region,
        window: Span,
        rights: Option<Rights>,
    ) -> Result<Memory, Error> {
        assert!(window.is_within(region.whole()), "{window:?} is outside");
        let mut access = AccessFlags::LocalWrite;
        if rights.is_some_and(|rights| rights.read) {
            access |= AccessFlags::RemoteRead;
        }
        if rights.is_some_and(|rights| rights.write) {
            access |= AccessFlags::RemoteWrite;
        }
        let base = region.base().as_ptr() as u64;
        let (start, bytes) = ((base + window.offset) as usize, window.bytes as usize);
        // SAFETY: the range is within the region, which `Memory` keeps mapped for as long as it is registered; that
        // others
        // write to it at any time is what regions are for.
        let registered = unsafe { self.domain.reg_mr(start, bytes, access) };
        let memory = registered.map_err(|error| {
            let cause = io::Error::last_os_error();
            let hint = match cause.raw_os_error() {
                Some(libc::ENOMEM) => " (is `ulimit -l` large enough?)",
                _ => "",
            };
            self.failed("registering memory", format!("{error}: {cause}{hint}"))
        })?;
        Ok(Memory {
            memory,
            region: region.clone(),
            window,
        })
    }

    /// A queue pair that is not connected yet. It has room for `receives` notices; with none, peers reach nothing by
    /// it.
    pub(crate) fn pair(&self, sequence: u32, receives: u32) -> Result<Pair, Error> {
        let channel = self.context.create_comp_channel();
        let channel = channel.map_err(|error| self.failed("completion channel", error))?;
        let nonblocking = channel.set_nonblocking(true);
        nonblocking.map_err(|error| self.failed("completion channel", error))?;
        let mut builder = self.context.create_cq_builder();
        builder.setup_cqe(self.depth + receives);
        builder.setup_comp_channel(&channel, 0);
        let queue = builder.build();
        let queue = queue.map_err(|error| self.failed("completion queue", error))?;
        let mut builder = self.domain.create_qp_builder();
        builder
            .setup_max_send_wr(self.depth)
            .setup_max_recv_wr(receives.max(1))
            .setup_max_send_sge(self.pieces as u32)
            .setup_max_recv_sge(1)
            .setup_send_cq(GenericCompletionQueue::from(queue.clone()))
            .setup_recv_cq(GenericCompletionQueue::from(queue.clone()));
        let pair = builder.build();
        let mut pair = pair.map_err(|error| self.failed("queue pair", error))?;
        // Who only asks gives nothing away.
        let access = match receives {
            0 => AccessFlags::LocalWrite,
            _ => AccessFlags::RemoteRead | AccessFlags::RemoteWrite,
        };
        let mut attributes = QueuePairAttribute::new();
        attributes
            .setup_state(QueuePairState::Init)
            .setup_pkey_index(0)
            .setup_port(self.number)
            .setup_access_flags(access);
        let modified = pair.modify(&attributes);
        modified.map_err(|error| self.failed("queue pair", error))?;
        let end = End {
            port: self.port,
            number: pair.qp_number(),
            sequence,
            reads: self.reads,
        };
        let mut pair = Pair {
            pair,
            queue,
            channel,
            end,
        };
        pair.receive(receives)?;
        pair.arm()?;
        Ok(pair)
    }

    /// Connects a pair with its other end.
    pub(crate) fn connect(&self, pair: &mut Pair, other: &End) -> Result<(), Error> {
        let failed = |error| self.failed("connecting a queue pair", error);
        let settings = &self.settings;
        let mtu = settings.path_mtu(self.port.mtu, other.port.mtu);
        let reads = self.reads.min(other.reads).max(1);
        let mut way = AddressHandleAttribute::new();
        way.setup_port(self.number).setup_dest_lid(other.port.lid);
        if self.port.ethernet {
            let (gid, hops) = (Gid::from(other.port.gid), settings.hop_limit);
            way.setup_grh(&gid, 0, self.gid_index, hops, settings.traffic_class);
        }
        let mut attributes = QueuePairAttribute::new();
        attributes
            .setup_state(QueuePairState::ReadyToReceive)
            .setup_path_mtu(mtu_of(mtu))
            .setup_dest_qp_num(other.number)
            .setup_rq_psn(other.sequence)
            .setup_max_dest_read_atomic(reads)
            .setup_min_rnr_timer(NOT_READY_PAUSE)
            .setup_address_vector(&way);
        pair.pair.modify(&attributes).map_err(failed)?;
        let mut attributes = QueuePairAttribute::new();
        attributes
            .setup_state(QueuePairState::ReadyToSend)
            .setup_sq_psn(pair.end.sequence)
            .setup_timeout(settings.timeout)
            .setup_retry_cnt(settings.retries)
            .setup_rnr_retry(NOT_READY_RETRIES)
            .setup_max_read_atomic(reads);
        pair.pair.modify(&attributes).map_err(failed)
    }
}

fn bytes_of(mtu: Mtu) -> u16 {
    128 << (mtu as u16)
}

fn mtu_of(bytes: u16) -> Mtu {
    Mtu::from((bytes / 128).trailing_zeros())
}

/// Registered memory; deregistered when it is dropped, after which the device refuses its keys.
pub(crate) struct Memory {
    memory: Arc<sideway::ibverbs::memory_region::MemoryRegion>,
    region: Region,
    window: Span,
}

impl Memory {
    /// What opens it to peers.
    pub(crate) fn rkey(&self) -> u32 {
        self.memory.rkey()
    }
}

/// What to do with which bytes.
pub(crate) enum Request<'a> {
    /// Bytes to the peer, and a notice behind them.
    Write {
        from: &'a Memory,
        pieces: &'a [Span],
        to: u64,
        rkey: u32,
        immediate: Option<u32>,
    },
    /// Bytes from the peer.
    Read {
        into: &'a Memory,
        pieces: &'a [Span],
        from: u64,
        rkey: u32,
    },
    /// No bytes; a notice, or nothing at all.
    Empty { immediate: Option<u32> },
}

/// How a work request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// This one, and all that were posted before it.
    Done,
    /// A notice came.
    Notice(u32),
    /// The peer's device refused it.
    Access,
    /// It was not begun, since an earlier one failed.
    Flushed,
    /// Anything else that breaks a pair, in the verbs' code.
    Broken(u32),
}

/// A queue pair with its completions. Dropped, it is destroyed: its device touches nothing for it any more.
pub(crate) struct Pair {
    // In this order: the queue outlives the pair, the channel the queue.
    pair: BasicQueuePair,
    queue: Arc<BasicCompletionQueue>,
    channel: Arc<CompletionChannel>,
    end: End,
}

impl Pair {
    /// This end, for the other one.
    pub(crate) fn end(&self) -> End {
        self.end
    }

    /// Readable when something has completed since [`Pair::arm`]. A descriptor of its own, which outlives the pair.
    pub(crate) fn ready(&self) -> io::Result<AsyncFd<OwnedFd>> {
        // SAFETY: the channel's descriptor is open as long as `self`.
        let borrowed = unsafe { BorrowedFd::borrow_raw(self.channel.as_raw_fd()) };
        let own = borrowed.try_clone_to_owned()?;
        // SAFETY: an owned descriptor is open until the registration, which owns it, is dropped.
        Ok(unsafe { AsyncFd::register(own) }?)
    }

    /// Posts requests in order with one ring of the bell; the last one reports, and with it all before it.
    pub(crate) fn post<'a>(
        &mut self,
        requests: impl ExactSizeIterator<Item = (u64, Request<'a>)>,
    ) -> Result<(), Error> {
        let last = requests.len();
        let mut entries = Vec::with_capacity(32);
        let mut guard = self.pair.start_post_send();
        for (place, (number, request)) in requests.enumerate() {
            let flags = match place + 1 == last {
                true => WorkRequestFlags::Signaled,
                false => WorkRequestFlags::none(),
            };
            let work = guard.construct_wr(number, flags);
            entries.clear();
            let work = match request {
                Request::Write {
                    from,
                    pieces,
                    to,
                    rkey,
                    immediate,
                } => {
                    list(from, pieces, &mut entries);
                    match immediate {
                        // Immediates have the network's order.
                        Some(word) => work.setup_write_imm(rkey, to, word.to_be()),
                        None => work.setup_write(rkey, to),
                    }
                }
                Request::Read {
                    into,
                    pieces,
                    from,
                    rkey,
                } => {
                    list(into, pieces, &mut entries);
                    work.setup_read(rkey, from)
                }
                Request::Empty {
                    immediate: Some(word),
                } => work.setup_write_imm(0, 0, word.to_be()),
                Request::Empty { immediate: None } => work.setup_write(0, 0),
            };
            // SAFETY: the entries are within registered memory (`list` checks it), which stays registered until the
            // request has completed or the pair is destroyed (this file's header).
            unsafe { work.setup_sge_list(&entries) };
        }
        let posted = guard.post();
        posted.map_err(|error| Error::system("RDMA", format!("posting: {error}")))
    }

    /// Makes room for so many further notices.
    pub(crate) fn receive(&mut self, count: u32) -> Result<(), Error> {
        if count == 0 {
            return Ok(());
        }
        let mut guard = self.pair.start_post_recv();
        for _ in 0..count {
            // A notice has no bytes, so there is no memory for them.
            let _empty = guard.construct_wr(0);
        }
        let posted = guard.post();
        posted.map_err(|error| Error::system("RDMA", format!("making room for notices: {error}")))
    }

    /// Wants an event for the next completion.
    pub(crate) fn arm(&self) -> Result<(), Error> {
        // SAFETY: the queue lives as long as `self`.
        let failed = unsafe { ibv_req_notify_cq(self.queue.cq().as_ptr(), 0) };
        match failed {
            0 => Ok(()),
            code => Err(Error::system("RDMA", io::Error::from_raw_os_error(code))),
        }
    }

    /// Takes the events that are there and says whether there were any. Each is acknowledged at once, since a queue
    /// with
    /// events that are not cannot be destroyed.
    pub(crate) fn events(&self) -> io::Result<bool> {
        let mut any = false;
        loop {
            let (mut queue, mut context) = (null_mut(), null_mut());
            // SAFETY: the channel lives as long as `self`, and only this pair's queue is attached to it.
            let failed = unsafe {
                let channel = self.channel.comp_channel().as_ptr();
                ibv_get_cq_event(channel, &raw mut queue, &raw mut context)
            };
            if failed != 0 {
                let error = io::Error::last_os_error();
                return match error.kind() {
                    io::ErrorKind::WouldBlock => Ok(any),
                    io::ErrorKind::Interrupted => continue,
                    _ => Err(error),
                };
            }
            // SAFETY: the event was of this queue.
            unsafe { ibv_ack_cq_events(queue, 1) };
            any = true;
        }
    }

    /// Takes the completions that are there, at most one batch, and says whether there may be more.
    pub(crate) fn poll(&self, into: &mut Vec<(u64, Ended)>) -> Result<bool, Error> {
        let before = into.len();
        let poller = match self.queue.start_poll() {
            Ok(poller) => poller,
            Err(PollCompletionQueueError::CompletionQueueEmpty) => return Ok(false),
            Err(error) => return Err(Error::system("RDMA", format!("polling: {error}"))),
        };
        for completion in poller {
            // Compared as numbers: turning an unknown one into the enum would panic.
            let ended = match completion.status() {
                OK if completion.opcode() == NOTICE => {
                    Ended::Notice(u32::from_be(completion.imm_data()))
                }
                OK => Ended::Done,
                ACCESS => Ended::Access,
                FLUSHED => Ended::Flushed,
                other => Ended::Broken(other),
            };
            into.push((completion.wr_id(), ended));
        }
        Ok(into.len() > before)
    }
}

const OK: u32 = WorkCompletionStatus::Success as u32;
const ACCESS: u32 = WorkCompletionStatus::RemoteAccessError as u32;
const FLUSHED: u32 = WorkCompletionStatus::WorkRequestFlushedError as u32;
const NOTICE: u32 = WorkCompletionOperationType::ReceiveWithImmediate as u32;

fn list(memory: &Memory, pieces: &[Span], into: &mut Vec<ibv_sge>) {
    let base = memory.region.base().as_ptr() as u64;
    for &piece in pieces {
        let inside = piece.is_within(memory.window);
        assert!(inside, "{piece:?} is outside of {:?}", memory.window);
        into.push(ibv_sge {
            addr: base + piece.offset,
            // Slices have at most 2^30 bytes (`Settings::check`).
            length: piece.bytes as u32,
            lkey: memory.memory.lkey(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_sizes_are_the_verbs_codes_and_back() {
        for bytes in [256, 512, 1024, 2048, 4096] {
            assert_eq!(bytes_of(mtu_of(bytes)), bytes);
        }
    }

    #[test]
    fn a_machine_without_devices_says_so() {
        // Here there are none, or there are: the answer is a list or a line, never a panic.
        match library() {
            Ok(names) => assert!(names.iter().all(|name| !name.is_empty())),
            Err(why) => assert!(!why.is_empty()),
        }
    }
}

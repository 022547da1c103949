//! Blocks over TCP: a few connections per peer, opened when they are used.
//!
//! An operation goes over one connection, the one with the fewest bytes under way, so that its notice comes behind
//! its bytes without a further round trip. Before an operation is taken in, every connection of the link that was
//! lost is opened again: the peer ends its side of the lost one then, and no byte of a failed operation can land
//! behind its repetition.

use crate::error::Error;
use crate::gate::Gate;
use crate::net::endpoint::Endpoint;
use crate::net::greeting;
use crate::net::inbox::Inbox;
use crate::net::lane::{Answer, Job, Lane, Work};
use crate::net::socket::Socket;
use crate::op::{Access, Grant, Key, Op, Ticket};
use crate::region::Region;
use crate::secret::random_u64;
use crate::transport::{Address, Handler, Later, Link, Notices, Options, Transport};
use crate::wire::MESSAGE_MAX;
use conductor_core::ids::NodeId;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, timeout_at};

/// A node's transport over TCP. Dropped, it ends all connections that it serves.
pub struct Tcp {
    endpoint: Arc<Endpoint>,
    address: Address,
}

impl Tcp {
    /// Listens. Port 0 takes a free one; [`Transport::address`] says which.
    ///
    /// # Errors
    /// The operating system's, if the address cannot be had.
    pub async fn bind(
        address: SocketAddr,
        options: Options,
        handler: Arc<dyn Handler>,
    ) -> Result<(Self, Notices), Error> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| Error::system("listening", error))?;
        let address = listener.local_addr();
        let address = address.map_err(|error| Error::system("listening", error))?;
        let (endpoint, notices) = Endpoint::new(options, handler, None);
        tokio::spawn(accept(listener, endpoint.clone()));
        let address = Address::Tcp(address);
        Ok((Self { endpoint, address }, notices))
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.endpoint.stop();
    }
}

pub(crate) async fn accept(listener: TcpListener, endpoint: Arc<Endpoint>) {
    let mut leaving = endpoint.leaving.subscribe();
    while let Some(greeting) = endpoint.room().await {
        let accepted = tokio::select! {
            _ = leaving.wait_for(|&leaving| leaving) => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // No descriptors left, or a caller who is gone already: neither is over at once.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        if let Ok(socket) = Socket::tcp(stream, endpoint.options.idle) {
            tokio::spawn(endpoint.clone().accept(socket, None, greeting));
        }
    }
}

impl Transport for Tcp {
    fn address(&self) -> &Address {
        &self.address
    }

    fn register(&self, region: &Region, access: Access) -> Result<Grant, Error> {
        self.endpoint.keys.register(region, access)
    }

    fn revoke(&self, key: Key) -> Later<'_, Result<(), Error>> {
        let within = self.endpoint.options.deadline;
        Box::pin(self.endpoint.keys.revoke(key, within))
    }

    fn leave(&self, node: NodeId) -> Later<'_, Result<(), Error>> {
        Box::pin(async move {
            self.endpoint.disconnect(node).await;
            let within = self.endpoint.options.deadline;
            self.endpoint.keys.leave(node, within).await
        })
    }

    fn connect<'a>(&'a self, to: &'a Address) -> Later<'a, Result<Arc<dyn Link>, Error>> {
        Box::pin(async move {
            let Address::Tcp(address) = to else {
                return Err(Error::Address(to.to_string().into()));
            };
            let link = TcpLink::connect(*address, &self.endpoint.options).await?;
            Ok(Arc::new(link) as Arc<dyn Link>)
        })
    }

    fn shutdown(&self, within: Duration) -> Later<'_, ()> {
        Box::pin(self.endpoint.shutdown(within))
    }
}

struct TcpLink {
    address: SocketAddr,
    node: NodeId,
    options: Options,
    session: u64,
    gate: Gate,
    /// Unopened at first, but for one.
    lanes: Mutex<Vec<Option<Lane>>>,
    closed: AtomicBool,
}

impl TcpLink {
    async fn connect(address: SocketAddr, options: &Options) -> Result<Self, Error> {
        let session = random_u64();
        let (lane, node) = dial(address, options, session, 0).await?;
        let mut lanes = vec![Some(lane)];
        lanes.resize_with(usize::from(options.lanes.max(1)), || None);
        Ok(Self {
            address,
            node,
            options: options.clone(),
            session,
            gate: Gate::new(options.ops_max, options.bytes_max),
            lanes: Mutex::new(lanes),
            closed: AtomicBool::new(false),
        })
    }

    /// Opens what was lost, and gives the job to the lane with the least to do.
    async fn push(&self, deadline: Instant, limit: Duration, job: Job) -> Result<(), Error> {
        let overdue = |_| Error::Deadline(limit);
        let mut lanes = timeout_at(deadline, self.lanes.lock())
            .await
            .map_err(overdue)?;
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        for place in 0..lanes.len() {
            let lost = lanes[place].as_ref().is_some_and(Lane::is_lost);
            // A lane that was never open is opened when all others have something to do.
            let busy = |lane: &Option<Lane>| lane.as_ref().is_none_or(|lane| lane.load() > 0);
            let wanted = lanes[place].is_none() && lanes.iter().all(busy);
            if lost || wanted {
                let dial = dial(self.address, &self.options, self.session, place as u16);
                let (lane, node) = timeout_at(deadline, dial).await.map_err(overdue)??;
                if node != self.node {
                    return Err(Error::lost(self.node, "another node has its address"));
                }
                lanes[place] = Some(lane);
            }
        }
        let open = lanes.iter().flatten();
        let lane = open.min_by_key(|lane| lane.load());
        lane.ok_or(Error::Closed)?.push(job);
        Ok(())
    }
}

async fn dial(
    address: SocketAddr,
    options: &Options,
    session: u64,
    lane: u16,
) -> Result<(Lane, NodeId), Error> {
    dial_as(Address::Tcp(address), address, options, session, lane).await
}

/// A greeted connection, for a transport that calls its address `shown`.
pub(crate) async fn dial_as(
    shown: Address,
    address: SocketAddr,
    options: &Options,
    session: u64,
    lane: u16,
) -> Result<(Lane, NodeId), Error> {
    let name = shown.to_string();
    let failed = |error: std::io::Error| Error::Connect {
        address: name.as_str().into(),
        why: error.to_string().into(),
    };
    let until = Instant::now() + options.connect;
    let late = |_| Error::Connect {
        address: name.as_str().into(),
        why: "no answer".into(),
    };
    let connect = TcpStream::connect(address);
    let stream = timeout_at(until, connect).await.map_err(late)?;
    let stream = stream.map_err(failed)?;
    let socket = Socket::tcp(stream, options.idle).map_err(failed)?;
    let mut inbox = Inbox::new(None);
    let who = (options.node, session, lane);
    let call = greeting::call(&socket, &mut inbox, who, &options.secret, &name);
    let node = timeout_at(until, call).await.map_err(late)??;
    let lane = Lane::start(socket, inbox, node, options.heartbeat, options.checksum);
    Ok((lane, node))
}

/// An operation of this size is one too many.
pub(crate) fn check_size(op: &Op, options: &Options) -> Result<(), Error> {
    match op.bytes <= options.op_bytes_max {
        true => Ok(()),
        false => Err(Error::TooLarge {
            what: "bytes of one operation",
            is: op.bytes,
            most: options.op_bytes_max,
        }),
    }
}

/// The same for a call's message.
pub(crate) fn check_message(message: &[u8]) -> Result<(), Error> {
    match message.len() <= MESSAGE_MAX {
        true => Ok(()),
        false => Err(Error::TooLarge {
            what: "bytes of one message",
            is: message.len() as u64,
            most: MESSAGE_MAX as u64,
        }),
    }
}

impl Link for TcpLink {
    fn node(&self) -> NodeId {
        self.node
    }

    fn submit(&self, op: Op) -> Later<'_, Result<Ticket, Error>> {
        Box::pin(async move {
            check_size(&op, &self.options)?;
            let limit = op.within.unwrap_or(self.options.deadline);
            let deadline = Instant::now() + limit;
            let permit = self.gate.enter(op.bytes, deadline, limit).await?;
            let (tell, ticket) = oneshot::channel();
            let finish = move |answer: Result<Answer, Error>| {
                // Nobody may be waiting any more.
                let _ = tell.send(answer.map(|_| ()));
            };
            let job = Job::new(Work::Op(op), (limit, deadline), Some(permit), finish);
            self.push(deadline, limit, job).await?;
            Ok(Ticket(ticket))
        })
    }

    fn call(&self, message: Vec<u8>) -> Later<'_, Result<Vec<u8>, Error>> {
        Box::pin(async move {
            check_message(&message)?;
            let limit = self.options.deadline;
            let deadline = Instant::now() + limit;
            let permit = self.gate.enter(0, deadline, limit).await?;
            let (tell, reply) = oneshot::channel();
            let finish = move |answer: Result<Answer, Error>| {
                let _ = tell.send(answer);
            };
            let work = Work::Call(message);
            let job = Job::new(work, (limit, deadline), Some(permit), finish);
            self.push(deadline, limit, job).await?;
            match reply.await.unwrap_or(Err(Error::Closed))? {
                Answer::Reply(message) => Ok(message),
                _ => Err(Error::Unanswered),
            }
        })
    }

    fn close(&self) -> Later<'_, ()> {
        Box::pin(async move {
            self.closed.store(true, Ordering::Release);
            let lanes = std::mem::take(&mut *self.lanes.lock().await);
            lanes.iter().flatten().for_each(Lane::close);
            for lane in lanes.iter().flatten() {
                lane.ended().await;
            }
        })
    }
}

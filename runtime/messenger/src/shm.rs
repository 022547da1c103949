//! Blocks between processes of one machine: the initiator maps the peer's region and copies.
//!
//! The peer's side of a copy costs it nothing: no system call, no wake-up. A Unix socket beside it carries what
//! copies cannot: the greeting, the descriptors of regions (`SCM_RIGHTS`), notices, calls. It speaks the protocol of
//! `net`, and its end is how the death of a peer is seen.
//!
//! Rights are bounds and a direction, checked here by the initiator, and by the kernel as far as it can: who may only
//! read gets a descriptor that is open for reading. A mapping cannot be taken back, so revocation is a shared word
//! per key (`guard.rs`) that the initiator enters for each piece that it copies. This keeps honest processes apart,
//! which share a secret; it is no wall between strangers with the same user id.
//!
//! A copier thread per link copies, so that no task of the runtime is held up.

mod attach;
mod copier;

use crate::error::Error;
use crate::gate::Gate;
use crate::keys::allowed;
use crate::net::endpoint::Endpoint;
use crate::net::greeting;
use crate::net::inbox::Inbox;
use crate::net::lane::{self, Answer, Lane, Work, ask};
use crate::net::socket::Socket;
use crate::op::{Access, Grant, Key, Op, Ticket};
use crate::region::Region;
use crate::secret::random_u64;
use crate::tcp::{check_message, check_size};
use crate::transport::{Address, Handler, Later, Link, Notices, Options, Transport};
use attach::{Attachment, Attachments};
use conductor_core::ids::NodeId;
use copier::{Copier, Copy};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, timeout_at};

/// A node's transport over shared memory. Dropped, it ends all connections that it serves and removes its socket.
pub struct Shm {
    endpoint: Arc<Endpoint>,
    address: Address,
    path: PathBuf,
}

impl Shm {
    /// Listens at a path, which only this user may connect to. What a dead process left there is replaced.
    ///
    /// # Errors
    /// The operating system's; somebody listening there already among them.
    pub fn bind(
        path: &Path,
        options: Options,
        handler: Arc<dyn Handler>,
    ) -> Result<(Self, Notices), Error> {
        let failed = |error| Error::system("listening", error);
        if let Err(error) = std::os::unix::net::UnixStream::connect(path)
            && error.kind() == std::io::ErrorKind::ConnectionRefused
        {
            std::fs::remove_file(path).map_err(failed)?;
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path, mode).map_err(failed)?;
        let (endpoint, notices) = Endpoint::new(options, handler, None);
        tokio::spawn(accept(listener, endpoint.clone()));
        let shm = Self {
            endpoint,
            address: Address::Shm(path.into()),
            path: path.into(),
        };
        Ok((shm, notices))
    }
}

impl Drop for Shm {
    fn drop(&mut self) {
        self.endpoint.stop();
        // Somebody may have removed it before.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn accept(listener: UnixListener, endpoint: Arc<Endpoint>) {
    let mut leaving = endpoint.leaving.subscribe();
    while let Some(greeting) = endpoint.room().await {
        let accepted = tokio::select! {
            _ = leaving.wait_for(|&leaving| leaving) => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let process = stream.peer_cred().ok().and_then(|cred| cred.pid());
        let process = process.and_then(Pid::from_raw);
        // Not a number, which another process may get.
        let process = process.and_then(|p| pidfd_open(p, PidfdFlags::empty()).ok());
        let socket = Socket::Unix(stream);
        tokio::spawn(
            endpoint
                .clone()
                .accept(socket, process.map(Arc::new), greeting),
        );
    }
}

impl Transport for Shm {
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
            let Address::Shm(path) = to else {
                return Err(Error::Address(to.to_string().into()));
            };
            let link = ShmLink::connect(path, &self.endpoint.options).await?;
            Ok(Arc::new(link) as Arc<dyn Link>)
        })
    }

    fn shutdown(&self, within: Duration) -> Later<'_, ()> {
        Box::pin(self.endpoint.shutdown(within))
    }
}

struct ShmLink {
    path: PathBuf,
    node: NodeId,
    options: Options,
    session: u64,
    gate: Gate,
    connection: Mutex<Connection>,
    copier: Copier,
    closed: AtomicBool,
}

/// The socket, and what was got over it.
struct Connection {
    lane: Arc<Lane>,
    attachments: Attachments,
}

impl ShmLink {
    async fn connect(path: &Path, options: &Options) -> Result<Self, Error> {
        let session = random_u64();
        let (connection, node) = dial(path, options, session).await?;
        Ok(Self {
            path: path.into(),
            node,
            options: options.clone(),
            session,
            gate: Gate::new(options.ops_max, options.bytes_max),
            connection: Mutex::new(connection),
            copier: Copier::start()?,
            closed: AtomicBool::new(false),
        })
    }

    /// The connection, opened again if it was lost, and what a key opens if one is asked for.
    async fn reach(
        &self,
        key: Option<Key>,
        limits: (Duration, Instant),
    ) -> Result<(Arc<Lane>, Option<Arc<Attachment>>), Error> {
        let mut connection = self.connection.lock().await;
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        if connection.lane.is_lost() {
            let (new, node) = dial(&self.path, &self.options, self.session).await?;
            if node != self.node {
                return Err(Error::lost(self.node, "another node has its address"));
            }
            *connection = new;
        }
        let lane = connection.lane.clone();
        let Some(key) = key else {
            return Ok((lane, None));
        };
        if let Some(attachment) = connection.attachments.get(key) {
            return Ok((lane, Some(attachment)));
        }
        let answer = ask(&lane, Work::Attach(key), limits).await?;
        let Answer::Attached(attached, region, page) = answer else {
            return Err(Error::UnknownKey);
        };
        let attachment = connection.attachments.enter(key, attached, region, page);
        Ok((lane, Some(attachment?)))
    }
}

async fn dial(path: &Path, options: &Options, session: u64) -> Result<(Connection, NodeId), Error> {
    let name = Address::Shm(path.into()).to_string();
    let until = Instant::now() + options.connect;
    let failed = |why: String| Error::Connect {
        address: name.as_str().into(),
        why: why.into(),
    };
    let stream = timeout_at(until, UnixStream::connect(path)).await;
    let stream = stream.map_err(|_| failed("no answer".into()))?;
    let socket = Socket::Unix(stream.map_err(|error| failed(error.to_string()))?);
    let mut inbox = Inbox::new(None);
    let who = (options.node, session, 0);
    let call = greeting::call(&socket, &mut inbox, who, &options.secret, &name);
    let node = timeout_at(until, call).await;
    let node = node.map_err(|_| failed("no answer".into()))??;
    let lane = Lane::start(socket, inbox, node, options.heartbeat, false);
    let connection = Connection {
        lane: Arc::new(lane),
        attachments: Attachments::default(),
    };
    Ok((connection, node))
}

impl Link for ShmLink {
    fn node(&self) -> NodeId {
        self.node
    }

    fn submit(&self, op: Op) -> Later<'_, Result<Ticket, Error>> {
        Box::pin(async move {
            check_size(&op, &self.options)?;
            let limit = op.within.unwrap_or(self.options.deadline);
            let deadline = Instant::now() + limit;
            let permit = self.gate.enter(op.bytes, deadline, limit).await?;
            // Without spans there is only a notice to give, which needs no key.
            let key = (!op.remote.is_empty()).then_some(op.grant.key);
            let reach = self.reach(key, (limit, deadline));
            let reached = timeout_at(deadline, reach).await;
            let (lane, attachment) = reached.map_err(|_| Error::Deadline(limit))??;
            if let Some(attachment) = &attachment {
                let allowed = allowed(attachment.access, op.direction, &op.remote);
                allowed.map_err(lane::error)?;
            }
            let (tell, ticket) = oneshot::channel();
            self.copier.push(Copy {
                op,
                lane,
                attachment,
                node: self.node,
                limits: (limit, deadline),
                permit,
                tell,
            })?;
            Ok(Ticket(ticket))
        })
    }

    fn call(&self, message: Vec<u8>) -> Later<'_, Result<Vec<u8>, Error>> {
        Box::pin(async move {
            check_message(&message)?;
            let limit = self.options.deadline;
            let limits = (limit, Instant::now() + limit);
            let _permit = self.gate.enter(0, limits.1, limit).await?;
            let (lane, _) = self.reach(None, limits).await?;
            match ask(&lane, Work::Call(message), limits).await? {
                Answer::Reply(message) => Ok(message),
                _ => Err(Error::Unanswered),
            }
        })
    }

    fn close(&self) -> Later<'_, ()> {
        Box::pin(async move {
            self.closed.store(true, Ordering::Release);
            self.gate.close().await;
            let lane = self.connection.lock().await.lane.clone();
            lane.close();
            lane.ended().await;
        })
    }
}

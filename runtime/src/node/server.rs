//! What a node answers over gRPC: the gateway's session, and the questions of peers.
//!
//! Nothing is decided here: a message is checked and given to the loop.

use super::body::Inbox;
use super::land::Ask;
use crate::wire::messages::{
    Down, Hello, Landing, Nothing, Pin, Pinned, Reserve, Standing, Unpin, Unpinned, Up, Welcome,
    down, up,
};
use crate::wire::{FRAMES_MAX, Node, Peer, Secret, VERSION, convert};
use conductor_core::config::Role;
use conductor_core::ids::NodeId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// How long a gateway may take to say who it is.
const GREETING: Duration = Duration::from_secs(2);

/// Hashes of one question at most.
const HASHES_MAX: usize = 1 << 20;

/// See the module; shared by both services.
pub(super) struct Server {
    pub(super) node: NodeId,
    pub(super) role: Role,
    pub(super) secret: Secret,
    pub(super) digest: String,
    pub(super) instance: u64,
    pub(super) transfer: String,
    pub(super) inbox: mpsc::Sender<Inbox>,
    pub(super) sessions: AtomicU64,
}

/// Both services are the same server.
#[derive(Clone)]
pub(super) struct Shared(pub(super) Arc<Server>);

fn ending<E>(_: E) -> Status {
    Status::unavailable("the node is ending")
}

fn malformed(error: convert::Malformed) -> Status {
    Status::invalid_argument(error.to_string())
}

impl Server {
    /// Both must be of one version, one cluster, one policy.
    fn check(&self, hello: &Hello) -> Result<(), Status> {
        let differ = |what: &str, there: &str, here: &str| {
            Err(Status::failed_precondition(format!(
                "{what}: the gateway has {there}, the node has {here}"
            )))
        };
        if hello.version != VERSION {
            let (there, here) = (hello.version.to_string(), VERSION.to_string());
            return differ("versions differ", &there, &here);
        }
        let node = u32::from(self.node.0);
        if hello.node != node {
            let (there, here) = (hello.node.to_string(), node.to_string());
            return differ("it is another node", &there, &here);
        }
        if hello.digest != self.digest {
            let what = "cluster or policy differ (by their digests)";
            return differ(what, &hello.digest, &self.digest);
        }
        Ok(())
    }

    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Inbox,
    ) -> Result<T, Status> {
        let (answer, answered) = oneshot::channel();
        let asked = self.inbox.send(question(answer)).await;
        asked.map_err(ending)?;
        answered.await.map_err(ending)
    }
}

#[tonic::async_trait]
impl Node for Shared {
    type SessionStream = ReceiverStream<Result<Up, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<Down>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let server = &self.0;
        server.secret.check(request.metadata())?;
        let mut heard = request.into_inner();
        let first = tokio::time::timeout(GREETING, heard.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("nobody says who is there"))??;
        let Some(down::Kind::Hello(hello)) = first.and_then(|first| first.kind) else {
            return Err(Status::invalid_argument("the first word is not a hello"));
        };
        server.check(&hello)?;
        let (up, frames) = mpsc::channel(FRAMES_MAX);
        let welcome = Welcome {
            version: VERSION,
            node: u32::from(server.node.0),
            instance: server.instance,
            role: convert::role(server.role),
            transfer: server.transfer.clone(),
        };
        let kind = Some(up::Kind::Welcome(welcome));
        up.send(Ok(Up { kind })).await.map_err(ending)?;
        let session = server.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        let begins = Inbox::Session {
            session,
            epoch: hello.epoch,
            nodes: hello.nodes,
            up: up.clone(),
        };
        server.inbox.send(begins).await.map_err(ending)?;
        tokio::spawn(hear(session, heard, up.downgrade(), server.inbox.clone()));
        Ok(Response::new(ReceiverStream::new(frames)))
    }

    async fn standing(&self, request: Request<Nothing>) -> Result<Response<Standing>, Status> {
        self.0.secret.check(request.metadata())?;
        let status = self.0.ask(Inbox::Status).await?;
        Ok(Response::new(status.into()))
    }
}

/// What comes down, until the connection ends or what comes is not understood.
async fn hear(
    session: u64,
    mut heard: Streaming<Down>,
    up: mpsc::WeakSender<Result<Up, Status>>,
    inbox: mpsc::Sender<Inbox>,
) {
    // The way up is the loop's alone: when it lets the session go, the stream ends, and this one after it.
    let refused = loop {
        let kind = match heard.message().await {
            Ok(Some(Down { kind: Some(kind) })) => kind,
            Ok(None) | Err(_) => break None,
            Ok(Some(Down { kind: None })) => continue,
        };
        let message = match kind {
            down::Kind::Ping(number) => Inbox::Ping(session, number),
            down::Kind::Nodes(nodes) => Inbox::Nodes(session, nodes.addresses),
            down::Kind::Orders(orders) => {
                let orders = orders.orders.into_iter().map(convert::order_of);
                match orders.collect() {
                    Ok(orders) => Inbox::Orders(session, orders),
                    Err(error) => break Some(malformed(error)),
                }
            }
            down::Kind::Hello(_) => break Some(Status::invalid_argument("a second hello")),
        };
        if inbox.send(message).await.is_err() {
            return;
        }
    };
    if let (Some(status), Some(up)) = (refused, up.upgrade()) {
        let _ = up.send(Err(status)).await;
    }
    let _ = inbox.send(Inbox::SessionEnded(session)).await;
}

#[tonic::async_trait]
impl Peer for Shared {
    async fn reserve(&self, request: Request<Reserve>) -> Result<Response<Landing>, Status> {
        self.0.secret.check(request.metadata())?;
        let reserve = request.into_inner();
        let ask = Ask {
            from: convert::node(reserve.from).map_err(malformed)?,
            ticket: convert::ticket(reserve.attempt).map_err(malformed)?,
            blocks: reserve.blocks,
            slice_bytes: reserve.slice_bytes,
            layers: reserve.layers,
            epoch: reserve.epoch,
        };
        let landing = self.0.ask(|answer| Inbox::Reserve(ask, answer)).await?;
        Ok(Response::new(landing))
    }

    async fn pin(&self, request: Request<Pin>) -> Result<Response<Pinned>, Status> {
        self.0.secret.check(request.metadata())?;
        let Pin { from, hashes } = request.into_inner();
        let from = convert::node(from).map_err(malformed)?;
        if hashes.len() > HASHES_MAX {
            return Err(Status::invalid_argument("too many blocks at once"));
        }
        let hashes = convert::hashes(hashes);
        let pinned = self
            .0
            .ask(|answer| Inbox::Pin(from, hashes, answer))
            .await?;
        Ok(Response::new(pinned))
    }

    async fn unpin(&self, request: Request<Unpin>) -> Result<Response<Unpinned>, Status> {
        self.0.secret.check(request.metadata())?;
        let Unpin { from, pin } = request.into_inner();
        let from = convert::node(from).map_err(malformed)?;
        let held = self.0.ask(|answer| Inbox::Unpin(from, pin, answer)).await?;
        Ok(Response::new(Unpinned { held }))
    }
}

//! What a transport's passive side is made of: keys, notices, the connections that are served, and their end.
//!
//! **Takeover.** A connection names its link's session and its lane. A second connection of the same lane means that
//! the caller has given the first one up; it is welcomed only after the first has been ended here. So bytes that were
//! still on their way when a caller gave up cannot land after it has tried again.

use super::greeting::{self, Caller};
use super::inbox::{Broken, Inbox};
use super::serve::{Served, Slots, serve};
use super::session::Sessions;
use super::socket::Socket;
use crate::keys::Keys;
use crate::op::Notice;
use crate::transport::{Handler, Notices, Options};
use crate::wire::Refusal;
use conductor_core::ids::NodeId;
use rustix::fd::OwnedFd;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

/// Strangers that are heard at a time; further ones wait in the kernel's queue.
const GREETINGS_MAX: usize = 64;

/// Node, session, lane.
type Lane = (NodeId, u64, u16);

pub(crate) struct Endpoint {
    pub(crate) options: Options,
    pub(crate) keys: Keys,
    pub(crate) handler: Arc<dyn Handler>,
    /// What the transport itself answers on a connection.
    pub(crate) sessions: Option<Arc<dyn Sessions>>,
    pub(crate) notices: mpsc::Sender<Notice>,
    /// True: peers are told to go.
    pub(crate) leaving: watch::Sender<bool>,
    greetings: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    served: Mutex<BTreeMap<Lane, Connection>>,
}

/// A connection that is served: raise `stop`, and `stop` is closed when it has ended.
#[derive(Clone, Debug)]
struct Connection {
    number: u64,
    stop: watch::Sender<bool>,
}

impl Endpoint {
    pub(crate) fn new(
        options: Options,
        handler: Arc<dyn Handler>,
        sessions: Option<Arc<dyn Sessions>>,
    ) -> (Arc<Self>, Notices) {
        let (notices, queue) = mpsc::channel(options.notices_max.max(1));
        let connections = options.connections_max as usize;
        let endpoint = Self {
            options,
            keys: Keys::default(),
            handler,
            sessions,
            notices,
            leaving: watch::Sender::new(false),
            greetings: Arc::new(Semaphore::new(GREETINGS_MAX)),
            connections: Arc::new(Semaphore::new(connections)),
            served: Mutex::default(),
        };
        (Arc::new(endpoint), Notices(queue))
    }

    /// Waits until another stranger may be heard; `None` when this endpoint is leaving.
    pub(crate) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        let mut leaving = self.leaving.subscribe();
        tokio::select! {
            _ = leaving.wait_for(|&leaving| leaving) => None,
            permit = self.greetings.clone().acquire_owned() => permit.ok(),
        }
    }

    /// Hears who connects, and serves it.
    pub(crate) async fn accept(
        self: Arc<Self>,
        socket: Socket,
        process: Option<Arc<OwnedFd>>,
        greeting: OwnedSemaphorePermit,
    ) {
        // What a peer did wrong ends its connection; it learns of it by that, and nobody here waits for it.
        let _ended = self.greet_and_serve(socket, process, greeting).await;
    }

    async fn greet_and_serve(
        &self,
        socket: Socket,
        process: Option<Arc<OwnedFd>>,
        greeting: OwnedSemaphorePermit,
    ) -> Result<(), Broken> {
        let mut inbox = Inbox::new(None);
        let limit = self.options.connect;
        let (node, secret) = (self.options.node, &self.options.secret);
        let listen = greeting::listen(&socket, &mut inbox, node, secret);
        let heard = timeout(limit, listen).await;
        let Some(caller) = heard.map_err(|_| Broken::Silent(limit))?? else {
            return Ok(());
        };
        let Ok(_room) = self.connections.clone().try_acquire_owned() else {
            return greeting::refuse(&socket, Refusal::Full).await;
        };
        if *self.leaving.borrow() {
            return greeting::refuse(&socket, Refusal::Leaving).await;
        }
        drop(greeting);
        inbox.patience(Some(self.options.idle));
        let mut stop = self.take_over(&caller).await;
        let served = async {
            greeting::welcome(&socket, &caller, secret).await?;
            let node = NodeId(caller.hello.node);
            let served = Served {
                endpoint: self,
                socket: &socket,
                node,
                process,
                slots: Slots::default(),
                session: self.sessions.as_ref().map(|all| all.begin(self, node)),
            };
            serve(served, &mut inbox).await
        };
        tokio::select! {
            biased;
            _ = stop.0.wait_for(|&stop| stop) => Ok(()),
            ended = served => ended,
        }
    }

    /// Enters a connection, ending an earlier one of the same lane first.
    async fn take_over(&self, caller: &Caller) -> Entry<'_> {
        let hello = &caller.hello;
        let lane = (NodeId(hello.node), hello.session, hello.lane);
        loop {
            let earlier = {
                let mut served = self.served.lock().expect("no panic inside");
                match served.get(&lane) {
                    Some(connection) => connection.clone(),
                    None => {
                        let stop = watch::Sender::new(false);
                        let receiver = stop.subscribe();
                        let number = crate::secret::random_u64();
                        served.insert(lane, Connection { number, stop });
                        return Entry(receiver, self, lane, number);
                    }
                }
            };
            stop_and_wait(&earlier).await;
        }
    }

    /// Ends all connections of a node.
    pub(crate) async fn disconnect(&self, node: NodeId) {
        let his: Vec<Connection> = {
            let served = self.served.lock().expect("no panic inside");
            let all = (node, 0, 0)..=(node, u64::MAX, u16::MAX);
            served.range(all).map(|(_, c)| c.clone()).collect()
        };
        for connection in &his {
            connection.stop.send_replace(true);
        }
        for connection in &his {
            stop_and_wait(connection).await;
        }
    }

    /// Tells all peers to go, waits for them, and ends who is left.
    pub(crate) async fn shutdown(&self, within: Duration) {
        self.leaving.send_replace(true);
        let all = self.options.connections_max;
        let gone = self.connections.acquire_many(all);
        if timeout(within, gone).await.is_ok() {
            return;
        }
        self.stop();
        // They end at their next wait, which is at once.
        let _all = self.connections.acquire_many(all).await;
    }

    /// Ends everything, without waiting.
    pub(crate) fn stop(&self) {
        self.leaving.send_replace(true);
        let served = self.served.lock().expect("no panic inside");
        for connection in served.values() {
            connection.stop.send_replace(true);
        }
    }
}

async fn stop_and_wait(connection: &Connection) {
    connection.stop.send_replace(true);
    connection.stop.closed().await;
}

/// A connection's place in the table, left when it ends.
struct Entry<'a>(watch::Receiver<bool>, &'a Endpoint, Lane, u64);

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut served = self.1.served.lock().expect("no panic inside");
        if served.get(&self.2).is_some_and(|c| c.number == self.3) {
            served.remove(&self.2);
        }
    }
}

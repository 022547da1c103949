//! The active side: a link to one peer. It takes operations in; the task of its connection (`pump.rs`) does them.

use super::message::{Ask, NICS_MAX, Tell};
use super::nics::{Nics, Registered};
use super::pump::{self, Command, Job, Start, Way, exchange};
use super::slices::{Limits, plan};
use super::windows::{Windows, attach};
use crate::error::Error;
use crate::gate::Gate;
use crate::keys::allowed;
use crate::net::lane::{self, Answer, Lane, Work, ask};
use crate::op::{Access, Op, Ticket};
use crate::region::Region;
use crate::secret::random_u64;
use crate::tcp::{check_message, check_size, dial_as};
use crate::transport::{Address, Later, Link, Options};
use conductor_core::ids::NodeId;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

/// Commands that wait for the task. Operations are bounded by the link's gate besides.
const COMMANDS: usize = 64;

pub(crate) struct VerbsLink {
    address: SocketAddr,
    node: NodeId,
    options: Options,
    session: u64,
    gate: Gate,
    nics: Arc<Nics>,
    connection: Mutex<Connection>,
    closed: AtomicBool,
}

/// The connection over which queue pairs are agreed on, and the task that owns them.
struct Connection {
    lane: Arc<Lane>,
    commands: mpsc::Sender<Command>,
    /// Ends with the task.
    task: watch::Receiver<()>,
    windows: Arc<Windows>,
    ports: usize,
}

impl VerbsLink {
    pub(crate) async fn connect(
        address: SocketAddr,
        options: &Options,
        nics: Arc<Nics>,
    ) -> Result<Self, Error> {
        let session = random_u64();
        let (connection, node) = dial(address, options, session, &nics).await?;
        Ok(Self {
            address,
            node,
            options: options.clone(),
            session,
            gate: Gate::new(options.ops_max, options.bytes_max),
            nics,
            connection: Mutex::new(connection),
            closed: AtomicBool::new(false),
        })
    }

    /// The connection, opened again if it was lost. The peer then ends the lost one, and all of its queue pairs, first.
    async fn reach(&self) -> Result<tokio::sync::MutexGuard<'_, Connection>, Error> {
        let mut connection = self.connection.lock().await;
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        if connection.lane.is_lost() || connection.task.has_changed().is_err() {
            connection.lane.close();
            // Its pairs are gone when it ends.
            let _ended = connection.task.changed().await;
            let (new, node) = dial(self.address, &self.options, self.session, &self.nics).await?;
            if node != self.node {
                return Err(Error::lost(self.node, "another node has its address"));
            }
            *connection = new;
        }
        Ok(connection)
    }

    async fn local(&self, region: &Region) -> Result<Registered, Error> {
        if let Some(registered) = self.nics.known(region) {
            return Ok(registered);
        }
        let (nics, region) = (self.nics.clone(), region.clone());
        let registered = spawn_blocking(move || nics.register(&region)).await;
        registered.map_err(|error| Error::system("RDMA", error))?
    }

    async fn take_in(&self, op: Op) -> Result<Ticket, Error> {
        check_size(&op, &self.options)?;
        let limit = op.within.unwrap_or(self.options.deadline);
        let deadline = Instant::now() + limit;
        let permit = self.gate.enter(op.bytes, deadline, limit).await?;
        let overdue = |_| Error::Deadline(limit);
        let local = timeout_at(deadline, self.local(&op.region)).await;
        let local = local.map_err(overdue)??;
        let reach = async {
            let connection = self.reach().await?;
            // Without spans there is only a notice to give, which needs no key.
            if op.remote.is_empty() {
                return Ok((connection.commands.clone(), None));
            }
            let key = op.grant.key;
            if let Some(opened) = connection.windows.get(key) {
                return Ok((connection.commands.clone(), Some(opened)));
            }
            let limits = (limit, deadline);
            let opened = attach(&connection.lane, key, connection.ports, limits).await?;
            connection.windows.enter(key, opened.clone());
            Ok::<_, Error>((connection.commands.clone(), Some(opened)))
        };
        let reached = timeout_at(deadline, reach).await;
        let (commands, opened) = reached.map_err(overdue)??;
        if let Some(opened) = &opened {
            let access = Access {
                window: opened.window,
                rights: opened.rights,
                node: None,
            };
            allowed(access, op.direction, &op.remote).map_err(lane::error)?;
        }
        let pieces = self.nics.devices.iter().map(|device| device.pieces).min();
        let limits = Limits {
            bytes: self.nics.settings.slice_bytes,
            pieces: pieces.unwrap_or(1),
        };
        let (tell, ticket) = oneshot::channel();
        let job = Job {
            plan: plan(&op.local, &op.remote, limits),
            op,
            local,
            opened,
            limit,
            deadline,
            permit,
            tell,
        };
        let send = commands.send(Command::Do(Box::new(job)));
        let sent = timeout_at(deadline, send).await.map_err(overdue)?;
        sent.map_err(|_| Error::lost(self.node, "the connection ended"))?;
        Ok(Ticket(ticket))
    }
}

async fn dial(
    address: SocketAddr,
    options: &Options,
    session: u64,
    nics: &Arc<Nics>,
) -> Result<(Connection, NodeId), Error> {
    let shown = Address::Verbs(address);
    let (lane, node) = dial_as(shown, address, options, session, 0).await?;
    let limits = (options.connect, Instant::now() + options.connect);
    let Tell::Ports(ports) = exchange(&lane, Ask::Ports, limits).await? else {
        return Err(Error::Unanswered);
    };
    let here: Vec<bool> = nics.devices.iter().map(|d| d.port.ethernet).collect();
    let there: Vec<bool> = ports.iter().map(|port| port.ethernet).collect();
    let ways = ways(&here, nics.preferred, &there);
    if ways.is_empty() {
        let why = "one side has RoCE alone and the other InfiniBand alone";
        return Err(Error::lost(node, why));
    }
    let (commands, queue) = mpsc::channel(COMMANDS);
    let (lane, windows) = (Arc::new(lane), Arc::new(Windows::default()));
    let start = Start {
        nics: nics.clone(),
        lane: lane.clone(),
        windows: windows.clone(),
        node,
        ways,
        limit: options.connect.max(Duration::from_secs(1)),
        own: commands.downgrade(),
        commands: queue,
    };
    let (alive, task) = watch::channel(());
    tokio::spawn(async move {
        pump::run(start).await;
        drop(alive);
    });
    let connection = Connection {
        lane,
        commands,
        task,
        windows,
        ports: ports.len(),
    };
    Ok((connection, node))
}

/// All pairs of a NIC here and one there on the same kind of wire. Each NIC here has one there that is its own (rails:
/// the first with the first, and so on), which is used in the first place; all others only if no such pair works.
fn ways(here: &[bool], preferred: usize, there: &[bool]) -> Vec<Way> {
    let mut ways = Vec::new();
    for (device, wire) in here.iter().enumerate() {
        for (port, other) in there.iter().enumerate().take(NICS_MAX) {
            if wire != other {
                continue;
            }
            let far = u8::from(device >= preferred);
            let crossed = u8::from(device % there.len() != port);
            let rank = far + 2 * crossed;
            ways.push(Way { device, port, rank });
        }
    }
    ways
}

impl Link for VerbsLink {
    fn node(&self) -> NodeId {
        self.node
    }

    fn submit(&self, op: Op) -> Later<'_, Result<Ticket, Error>> {
        Box::pin(self.take_in(op))
    }

    fn call(&self, message: Vec<u8>) -> Later<'_, Result<Vec<u8>, Error>> {
        Box::pin(async move {
            check_message(&message)?;
            let limit = self.options.deadline;
            let limits = (limit, Instant::now() + limit);
            let _permit = self.gate.enter(0, limits.1, limit).await?;
            let lane = self.reach().await?.lane.clone();
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
            let mut connection = self.connection.lock().await;
            connection.lane.close();
            let _ended = connection.task.changed().await;
            connection.lane.ended().await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rails_first_then_crossings_and_never_between_kinds_of_wire() {
        let rank = |way: &Way| (way.device, way.port, way.rank);
        let all = ways(&[true, true], 2, &[true, true]);
        let expected = [(0, 0, 0), (0, 1, 2), (1, 0, 2), (1, 1, 0)];
        assert_eq!(all.iter().map(rank).collect::<Vec<_>>(), expected);
        let two_to_one = ways(&[true, true], 1, &[true]);
        let expected = [(0, 0, 0), (1, 0, 1)];
        assert_eq!(two_to_one.iter().map(rank).collect::<Vec<_>>(), expected);
        assert_eq!(ways(&[true], 1, &[false]), []);
    }
}

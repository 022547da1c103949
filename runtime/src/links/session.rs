//! One session with a node, from dialling to its end.
//!
//! Two loops side by side: one hears, one speaks. Either's end is the session's. Who speaks waits when the node does
//! not read; the pings wait with it, and the silence is noticed.

use super::{Link, LinkError, LinkNews};
use crate::protocol::ToNode;
use crate::task::{SessionId, TO_NODE_MAX};
use crate::wire::messages::{Down, Hello, Nodes, Orders, Up, Welcome, down, up};
use crate::wire::{BATCH_MAX, FRAMES_MAX, NodeClient, VERSION, convert, endpoint, innermost};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Orders whose prompts have more tokens than this together are not put into one message.
const TOKENS_OF_BATCH: usize = 1 << 18;

impl Link {
    /// True if the node was up; and why the session is over.
    pub(super) async fn session(&self, number: SessionId, address: &str) -> (bool, LinkError) {
        let session = Session {
            link: self,
            number,
            address,
        };
        session.run().await
    }
}

/// See the module.
struct Session<'a> {
    link: &'a Link,
    number: SessionId,
    address: &'a str,
}

impl Session<'_> {
    fn address(&self) -> String {
        self.address.into()
    }

    fn refused(&self, status: &Status) -> LinkError {
        LinkError::Refused {
            address: self.address(),
            why: status.message().into(),
        }
    }

    async fn run(&self) -> (bool, LinkError) {
        let Link { shared, node, .. } = self.link;
        let (frames, mut heard, instance) = match self.greet().await {
            Ok(greeted) => greeted,
            Err(error) => return (false, error),
        };
        let (link, orders) = mpsc::channel(TO_NODE_MAX);
        let driver = &shared.driver;
        if driver.node_up(*node, self.number, link).await.is_err() {
            return (false, LinkError::Ended);
        }
        (shared.report)(*node, &LinkNews::Up { instance });
        let mut nodes = self.link.nodes.clone();
        let error = tokio::select! {
            error = self.hear(&mut heard) => error,
            error = self.speak(orders, frames) => error,
            to = nodes.moved(*node, Some(self.address)) => match to {
                Some(to) => LinkError::Moved { from: self.address(), to },
                None => LinkError::Unlisted,
            },
        };
        // Whatever was under way on it is void from here on: the connection is dropped with this function's end.
        if driver.node_down(*node, self.number).await.is_err() {
            return (true, LinkError::Ended);
        }
        (true, error)
    }

    /// Connects, and both say who they are.
    async fn greet(&self) -> Result<(mpsc::Sender<Down>, Streaming<Up>, u64), LinkError> {
        let within = tokio::time::Instant::now() + self.link.shared.config.connect;
        match timeout_at(within, self.dial()).await {
            Ok(greeted) => greeted,
            Err(_) => Err(LinkError::Silent {
                address: self.address(),
                after: self.link.shared.config.connect,
            }),
        }
    }

    async fn dial(&self) -> Result<(mpsc::Sender<Down>, Streaming<Up>, u64), LinkError> {
        let (config, address) = (&self.link.shared.config, self.address());
        let endpoint = endpoint(&address, config.tls.as_ref())
            .map_err(|_| LinkError::Address(address.clone()))?
            .initial_stream_window_size(1 << 20);
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| LinkError::Connect {
                why: innermost(&error),
                address: address.clone(),
            })?;
        let mut client = NodeClient::new(channel)
            .max_decoding_message_size(config.message_bytes_max)
            .max_encoding_message_size(config.message_bytes_max);
        let (frames, outbound) = mpsc::channel(FRAMES_MAX);
        let hello = Hello {
            version: VERSION,
            node: u32::from(self.link.node.0),
            digest: self.link.shared.digest.clone(),
            nodes: self.link.nodes.addresses(self.link.shared.count),
            epoch: self.link.shared.epoch,
        };
        let kind = Some(down::Kind::Hello(hello));
        let closed = || LinkError::Closed {
            address: address.clone(),
        };
        frames.send(Down { kind }).await.map_err(|_| closed())?;
        let request = config.secret.shown(ReceiverStream::new(outbound));
        let answer = client.session(request).await;
        let mut heard = answer.map_err(|status| self.refused(&status))?.into_inner();
        let first = heard.message().await;
        match first.map_err(|status| self.refused(&status))? {
            Some(Up {
                kind: Some(up::Kind::Welcome(welcome)),
            }) => {
                self.check(&welcome)?;
                Ok((frames, heard, welcome.instance))
            }
            Some(_) => Err(LinkError::Malformed {
                address,
                why: "its first word is not a welcome".into(),
            }),
            None => Err(closed()),
        }
    }

    /// The node must be who it is taken for.
    fn check(&self, welcome: &Welcome) -> Result<(), LinkError> {
        let compare = [
            ("the version", welcome.version, VERSION),
            (
                "the node's number",
                welcome.node,
                u32::from(self.link.node.0),
            ),
            (
                "the node's role",
                welcome.role,
                convert::role(self.link.role),
            ),
        ];
        match compare
            .into_iter()
            .find(|(_, found, expected)| found != expected)
        {
            None => Ok(()),
            Some((what, found, expected)) => Err(LinkError::Other {
                address: self.address(),
                what,
                found: found.to_string(),
                expected: expected.to_string(),
            }),
        }
    }

    async fn hear(&self, heard: &mut Streaming<Up>) -> LinkError {
        let Link { shared, node, .. } = self.link;
        let (silent, driver) = (shared.config.silent, &shared.driver);
        loop {
            let message = match timeout(silent, heard.message()).await {
                Err(_) => {
                    return LinkError::Silent {
                        address: self.address(),
                        after: silent,
                    };
                }
                Ok(Err(status)) => return self.refused(&status),
                Ok(Ok(None)) => {
                    return LinkError::Closed {
                        address: self.address(),
                    };
                }
                Ok(Ok(Some(message))) => message,
            };
            match message.kind {
                Some(up::Kind::Pong(_)) => {}
                Some(up::Kind::Facts(facts)) => {
                    let facts = facts.facts.into_iter().map(convert::fact_of);
                    let facts = match facts.collect::<Result<Vec<_>, _>>() {
                        Ok(facts) => facts,
                        Err(error) => return self.malformed(&error),
                    };
                    if driver.said(*node, self.number, facts).await.is_err() {
                        return LinkError::Ended;
                    }
                }
                Some(up::Kind::Welcome(_)) | None => {
                    return self.malformed(&convert::Malformed("neither facts nor a pong"));
                }
            }
        }
    }

    fn malformed(&self, error: &convert::Malformed) -> LinkError {
        LinkError::Malformed {
            address: self.address(),
            why: error.to_string(),
        }
    }

    async fn speak(
        &self,
        mut orders: mpsc::Receiver<ToNode>,
        frames: mpsc::Sender<Down>,
    ) -> LinkError {
        let shared = &self.link.shared;
        let mut pings = interval(shared.config.ping);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut nodes = self.link.nodes.clone();
        let mut number = 0;
        loop {
            let kind = tokio::select! {
                _ = pings.tick() => {
                    number += 1;
                    down::Kind::Ping(number)
                }
                () = nodes.changed() => {
                    let addresses = nodes.addresses(shared.count);
                    down::Kind::Nodes(Nodes { addresses })
                }
                first = orders.recv() => match first {
                    Some(first) => down::Kind::Orders(batch(&first, &mut orders)),
                    // The driver has given it up.
                    None => return LinkError::Stuck { address: self.address() },
                },
            };
            let kind = Some(kind);
            if frames.send(Down { kind }).await.is_err() {
                // The other loop hears why.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// What waits, as one message.
fn batch(first: &ToNode, orders: &mut mpsc::Receiver<ToNode>) -> Orders {
    let mut batch = Orders {
        orders: vec![convert::order(first)],
    };
    let mut tokens = tokens_of(first);
    while batch.orders.len() < BATCH_MAX && tokens < TOKENS_OF_BATCH {
        let Ok(next) = orders.try_recv() else { break };
        tokens += tokens_of(&next);
        batch.orders.push(convert::order(&next));
    }
    batch
}

fn tokens_of(message: &ToNode) -> usize {
    match message {
        ToNode::Fetch { prompt, .. }
        | ToNode::Prefill { prompt, .. }
        | ToNode::Decode { prompt, .. } => prompt.tokens.len(),
        _ => 0,
    }
}

//! Nodes in the test's own process: the agents of production over an engine that answers with the prompt itself.
//!
//! The answer's token `i` is the prompt's token `i`; behind the prompt's last comes the model's end, or the prompt
//! again if the end is ignored. KV arrives at once. Steps take no time, or wait until the test lets them go.

use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_core::ids::{NodeId, Ticket};
use conductor_core::units::{Nanos, Tokens};
use conductor_runtime::agent::{Agent, Made, Obeyed, Output, Outputs};
use conductor_runtime::clock::{Clock, MonotonicClock};
use conductor_runtime::journal::MemoryJournal;
use conductor_runtime::protocol::{EndReason, FromNode, Prompt, ToNode};
use conductor_runtime::task::{self, DriverHandle, SessionId, TO_NODE_MAX};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::{Semaphore, mpsc};

/// The model's end.
const END: u32 = 257;

enum News {
    Order(NodeId, ToNode),
    Done(NodeId),
}

/// A driver and its nodes.
pub(crate) struct Fake {
    /// The driver.
    pub(crate) driver: DriverHandle,
    /// What it has written down.
    pub(crate) journal: MemoryJournal,
    gate: Option<Arc<Semaphore>>,
    aborted: Arc<Mutex<Vec<(NodeId, Ticket)>>>,
}

struct Nodes {
    driver: DriverHandle,
    agents: Vec<Agent>,
    /// What a prefill node computes.
    computing: BTreeMap<NodeId, (Ticket, Arc<Prompt>)>,
    /// What the step or pass of a node makes.
    making: BTreeMap<NodeId, Vec<Made>>,
    gate: Option<Arc<Semaphore>>,
    news: mpsc::UnboundedSender<News>,
    clock: MonotonicClock,
    queue: VecDeque<(NodeId, Output)>,
    said: Vec<(NodeId, FromNode)>,
}

impl Fake {
    /// All nodes of the cluster, up. Where steps are `held`, each waits for [`Fake::release`].
    pub(crate) async fn start(cluster: &ClusterConfig, policy: &PolicyConfig, held: bool) -> Self {
        let (journal, clock) = (MemoryJournal::default(), MonotonicClock::start());
        let (driver, _) = task::spawn(cluster, policy, 1, Box::new(journal.clone()), clock);
        let gate = held.then(|| Arc::new(Semaphore::new(0)));
        let aborted: Arc<Mutex<Vec<_>>> = Arc::default();
        let (news, inbox) = mpsc::unbounded_channel();
        let shared = (Arc::new(cluster.clone()), Arc::new(policy.clone()));
        let ids = (0..cluster.nodes.len() as u16).map(NodeId);
        let role = |id: NodeId| cluster.nodes[id.index()].role;
        let agents = ids
            .clone()
            .map(|id| Agent::new(role(id), id, &shared.0, &shared.1));
        let nodes = Nodes {
            driver: driver.clone(),
            agents: agents.collect(),
            computing: BTreeMap::new(),
            making: BTreeMap::new(),
            gate: gate.clone(),
            news: news.clone(),
            clock,
            queue: VecDeque::new(),
            said: Vec::new(),
        };
        for id in ids {
            let (link, mut orders) = mpsc::channel(TO_NODE_MAX);
            driver.node_up(id, SessionId(1), link).await.expect("runs");
            let (news, aborted) = (news.clone(), Arc::clone(&aborted));
            tokio::spawn(async move {
                while let Some(order) = orders.recv().await {
                    if let ToNode::Abort { ticket } = order {
                        aborted.lock().expect("no panic").push((id, ticket));
                    }
                    let _ = news.send(News::Order(id, order));
                }
            });
        }
        tokio::spawn(nodes.run(inbox));
        Self {
            driver,
            journal,
            gate,
            aborted,
        }
    }

    /// Lets so many steps go, of all nodes together.
    pub(crate) fn release(&self, steps: usize) {
        self.gate.as_ref().expect("held").add_permits(steps);
    }

    /// A node is gone.
    pub(crate) async fn down(&self, node: u16) {
        let gone = self.driver.node_down(NodeId(node), SessionId(1)).await;
        gone.expect("the driver runs");
    }

    /// Who was told to give something up.
    pub(crate) fn aborted(&self) -> Vec<u16> {
        let aborted = self.aborted.lock().expect("no panic");
        let mut nodes: Vec<u16> = aborted.iter().map(|&(node, _)| node.0).collect();
        nodes.sort_unstable();
        nodes
    }

    /// Requests that are not answered.
    pub(crate) async fn live(&self) -> usize {
        self.driver.status().await.expect("runs").live
    }
}

/// The answer's token at `position`, and whether the model ends with it.
fn token(prompt: &Prompt, position: u64) -> (u32, bool) {
    let length = prompt.tokens.len() as u64;
    if prompt.sampling.ignore_end {
        return (prompt.tokens[(position % length) as usize], false);
    }
    let token = prompt.tokens.get(position as usize).copied();
    let token = token.unwrap_or(END);
    (token, token == END)
}

fn made(ticket: Ticket, prompt: &Prompt, position: u64) -> Made {
    let (token, ends) = token(prompt, position);
    Made {
        ticket,
        token,
        ends,
    }
}

impl Nodes {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<News>) {
        while let Some(news) = inbox.recv().await {
            let now = self.clock.now();
            let mut out = Outputs::new();
            let node = match news {
                News::Order(node, order) => {
                    self.order(now, node, order, &mut out);
                    node
                }
                News::Done(node) => {
                    self.done(now, node, &mut out);
                    node
                }
            };
            self.queue
                .extend(out.into_iter().map(|output| (node, output)));
            while let Some((node, output)) = self.queue.pop_front() {
                self.perform(now, node, output);
            }
            for (node, fact) in std::mem::take(&mut self.said) {
                let heard = self.driver.said(node, SessionId(1), vec![fact]).await;
                if heard.is_err() {
                    return;
                }
            }
        }
    }

    fn order(&mut self, now: Nanos, node: NodeId, order: ToNode, out: &mut Outputs) {
        let obeyed = self.agents[node.index()].obey(now, order, out);
        assert_eq!(obeyed, Obeyed::Done, "{node}");
    }

    fn done(&mut self, now: Nanos, node: NodeId, out: &mut Outputs) {
        let tokens = self.making.remove(&node).unwrap_or_default();
        match &mut self.agents[node.index()] {
            Agent::Prefill(agent) => {
                let Some((_, prompt)) = self.computing.remove(&node) else {
                    return;
                };
                let (token, ends) = token(&prompt, 0);
                let last = match prompt.output_max == Tokens(1) {
                    true => Some(EndReason::Length),
                    false => ends.then_some(EndReason::Stop),
                };
                agent.computed(token, last, out);
            }
            Agent::Decode(agent) => agent.stepped(now, &tokens, out),
            Agent::Coupled(agent) => agent.passed(now, &tokens, out),
        }
    }

    fn perform(&mut self, now: Nanos, node: NodeId, output: Output) {
        let mut out = Outputs::new();
        let mut whose = node;
        match (&mut self.agents[node.index()], output) {
            (_, Output::Say(fact)) => self.said.push((node, fact)),
            (_, Output::Compute { run, prompt, .. }) => {
                self.computing.insert(node, (run.ticket, prompt));
                self.work(node);
            }
            (Agent::Prefill(agent), Output::SendRest { ticket }) => {
                let to = agent.going_to(ticket).expect("computed for somebody").0;
                agent.sent(ticket, &mut out);
                self.queue
                    .extend(out.drain(..).map(|output| (node, output)));
                if let Agent::Decode(agent) = &mut self.agents[to.index()] {
                    agent.arrived(now, ticket, &mut out);
                }
                whose = to;
            }
            (
                _,
                Output::Get {
                    ticket,
                    from,
                    first,
                    blocks,
                },
            ) => {
                let Agent::Prefill(source) = &mut self.agents[from.index()] else {
                    panic!("{from} has no blocks");
                };
                let pins = source.pin(&blocks);
                source.unpin(&pins);
                if let Agent::Prefill(agent) = &mut self.agents[node.index()] {
                    agent.copy_arrived(ticket, first, pins.len(), &mut out);
                }
            }
            (Agent::Decode(agent), Output::Load { ticket, .. }) => {
                agent.loaded(now, ticket, &mut out);
            }
            (Agent::Decode(agent), Output::Step(_)) => {
                let batch = agent.in_batch();
                let tokens = batch.map(|one| made(one.ticket, &one.prompt, one.made));
                self.making.insert(node, tokens.collect());
                self.work(node);
            }
            (Agent::Coupled(agent), Output::Pass(run)) => {
                let pieces = agent.pieces().filter(|piece| piece.is_last());
                let pieces = pieces.map(|piece| made(piece.ticket, &piece.prompt, piece.made));
                let mut tokens: Vec<Made> = pieces.collect();
                let batch = agent.in_batch(&run);
                tokens.extend(batch.map(|one| made(one.ticket, &one.prompt, one.made)));
                self.making.insert(node, tokens);
                self.work(node);
            }
            _ => {}
        }
        self.queue
            .extend(out.into_iter().map(|output| (whose, output)));
    }

    /// The node's engine works, as long as the test wants.
    fn work(&self, node: NodeId) {
        let news = self.news.clone();
        let Some(gate) = self.gate.clone() else {
            let _ = news.send(News::Done(node));
            return;
        };
        tokio::spawn(async move {
            gate.acquire().await.expect("open").forget();
            let _ = news.send(News::Done(node));
        });
    }
}

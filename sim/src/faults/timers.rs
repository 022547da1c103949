//! The state of faults in a run: what holds now, and what is due when.

use super::{FaultCounts, FaultKind, FaultPlan};
use conductor_core::config::Ratio;
use conductor_core::cost::Factor;
use conductor_core::ids::{BlockHash, NodeId, RequestId};
use conductor_core::rng::Stream;
use conductor_core::units::Nanos;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Something that is due. At one instant: in this order, then by number. What heals comes before what breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A fault of the plan is over.
    Ends(usize),
    /// A fault of the plan begins.
    Begins(usize),
    /// The Conductor hears of a crash.
    Detect(NodeId),
    /// A late report comes, by its number.
    Late(NodeId, u64),
    /// A node reports its whole cache.
    Resync(NodeId),
    /// A request's transfer has waited long enough for a cut link.
    Impatient(RequestId),
    /// A lost attempt is given in again.
    Again(RequestId),
    /// A request's client goes.
    Cancel(RequestId),
}

/// What a node says of its cache.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// Blocks that came; else blocks that went.
    pub(crate) stored: bool,
    pub(crate) blocks: Vec<BlockHash>,
}

/// How a report fares.
pub(crate) enum Fate {
    Arrives,
    Late,
    Lost,
}

/// A node as its faults leave it.
#[derive(Clone, Debug)]
struct NodeState {
    alive: bool,
    /// The Conductor has heard of its crash.
    known_down: bool,
    slow: Factor,
    link: Ratio,
    lose: Ratio,
    delay: (Ratio, Nanos),
    /// Number of its next report.
    next: u64,
    /// Number of the report that the Conductor's side expects.
    expected: u64,
    resyncs: bool,
}

/// Faults of a run.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub(crate) plan: FaultPlan,
    pub(crate) counts: FaultCounts,
    on: bool,
    lasting: Vec<bool>,
    nodes: Vec<NodeState>,
    timers: BinaryHeap<Reverse<(Nanos, Timer)>>,
    late: BTreeMap<(NodeId, u64), Report>,
    reports: Stream,
    cancels: Stream,
}

impl Faults {
    pub(crate) fn new(plan: &FaultPlan, nodes: usize, seed: u64) -> Self {
        let begins = plan.faults.iter().enumerate();
        let timers = begins.map(|(i, fault)| Reverse((fault.at, Timer::Begins(i))));
        let node = NodeState {
            alive: true,
            known_down: false,
            slow: Factor::ONE,
            link: Ratio::ONE,
            lose: Ratio(0),
            delay: (Ratio(0), Nanos::ZERO),
            next: 0,
            expected: 0,
            resyncs: false,
        };
        Self {
            on: !plan.is_empty(),
            lasting: vec![false; plan.faults.len()],
            nodes: vec![node; nodes],
            timers: timers.collect(),
            late: BTreeMap::new(),
            reports: Stream::new(seed, "fault-reports"),
            cancels: Stream::new(seed, "client-cancel"),
            counts: FaultCounts::default(),
            plan: plan.clone(),
        }
    }

    /// False if nothing goes wrong in this run.
    pub(crate) const fn on(&self) -> bool {
        self.on
    }

    /// When something is due.
    pub(crate) fn next(&self) -> Option<Nanos> {
        self.timers.peek().map(|&Reverse((at, _))| at)
    }

    pub(crate) fn pop(&mut self) -> Option<Timer> {
        self.timers.pop().map(|Reverse((_, timer))| timer)
    }

    pub(crate) fn set(&mut self, at: Nanos, timer: Timer) {
        self.timers.push(Reverse((at, timer)));
    }

    /// True if a report or a whole cache is on its way.
    pub(crate) fn reports_are_due(&self) -> bool {
        !self.late.is_empty() || self.nodes.iter().any(|node| node.resyncs)
    }

    /// The fault begins or is over; true if its node, or the Conductor, is now another.
    pub(crate) fn turn(&mut self, now: Nanos, fault: usize, begins: bool) -> FaultKind {
        let kind = self.plan.faults[fault].kind;
        let lasts = self.plan.faults[fault].lasts;
        if begins && !matches!(kind, FaultKind::RestartConductor | FaultKind::Cancel { .. }) {
            self.set(now + lasts, Timer::Ends(fault));
        }
        self.lasting[fault] = begins;
        kind
    }

    fn lasting(&self) -> impl Iterator<Item = FaultKind> + '_ {
        let faults = self.plan.faults.iter().zip(&self.lasting);
        faults
            .filter(|(_, lasting)| **lasting)
            .map(|(fault, _)| fault.kind)
    }

    /// True if a crash of the node lasts.
    pub(crate) fn is_crashed(&self, node: NodeId) -> bool {
        self.lasting().any(|kind| kind == FaultKind::Crash { node })
    }

    /// Finds how slow the node is now; true if that is new.
    pub(crate) fn slow_again(&mut self, node: NodeId) -> bool {
        let factors = self.lasting().filter_map(|kind| match kind {
            FaultKind::Slow {
                node: other,
                factor,
            } if other == node => Some(factor),
            _ => None,
        });
        let worst = factors
            .max_by_key(|factor| factor.of(1 << 16))
            .unwrap_or(Factor::ONE);
        std::mem::replace(&mut self.nodes[node.index()].slow, worst) != worst
    }

    /// Finds what the node's NICs carry now; `Some` if that is new.
    pub(crate) fn link_again(&mut self, node: NodeId) -> Option<Ratio> {
        let parts = self.lasting().filter_map(|kind| match kind {
            FaultKind::Link { node: other, part } if other == node => Some(part),
            _ => None,
        });
        let worst = parts.min().unwrap_or(Ratio::ONE);
        let old = std::mem::replace(&mut self.nodes[node.index()].link, worst);
        (old != worst).then_some(worst)
    }

    /// Finds how the node's reports fare now.
    pub(crate) fn reports_again(&mut self, node: NodeId) {
        let (mut lose, mut delay) = (Ratio(0), (Ratio(0), Nanos::ZERO));
        for kind in self.lasting() {
            match kind {
                FaultKind::LoseReports { node: other, share } if other == node => {
                    lose = lose.max(share);
                }
                FaultKind::DelayReports {
                    node: other,
                    share,
                    by,
                } if other == node => {
                    delay = delay.max((share, by));
                }
                _ => {}
            }
        }
        let state = &mut self.nodes[node.index()];
        (state.lose, state.delay) = (lose, delay);
    }

    pub(crate) fn is_alive(&self, node: NodeId) -> bool {
        self.nodes[node.index()].alive
    }

    /// True if the Conductor has heard of its crash.
    pub(crate) fn is_known_down(&self, node: NodeId) -> bool {
        self.nodes[node.index()].known_down
    }

    pub(crate) fn set_alive(&mut self, node: NodeId, alive: bool) {
        self.nodes[node.index()].alive = alive;
        self.nodes[node.index()].known_down = false;
    }

    pub(crate) fn set_known_down(&mut self, node: NodeId) {
        self.nodes[node.index()].known_down = true;
    }

    /// So many times as long as it should take.
    pub(crate) fn slowness(&self, node: NodeId) -> Factor {
        self.nodes[node.index()].slow
    }

    /// Numbers a report and says how it fares. One that is late is kept until it comes.
    pub(crate) fn send(
        &mut self,
        now: Nanos,
        node: NodeId,
        report: impl FnOnce() -> Report,
    ) -> Fate {
        let state = &mut self.nodes[node.index()];
        let number = state.next;
        state.next += 1;
        let draw = (number << 16 | u64::from(node.0)) << 1;
        if self.reports.below(draw, 1000) < u64::from(state.lose.0) {
            self.counts.lost_reports += 1;
            self.want_resync(now, node);
            return Fate::Lost;
        }
        let (share, by) = state.delay;
        if self.reports.below(draw | 1, 1000) < u64::from(share.0) {
            self.counts.late_reports += 1;
            self.late.insert((node, number), report());
            self.set(now + by, Timer::Late(node, number));
            return Fate::Late;
        }
        self.received(now, node, number);
        Fate::Arrives
    }

    /// A late report comes; `None` if it is void by now.
    pub(crate) fn receive_late(&mut self, now: Nanos, node: NodeId, number: u64) -> Option<Report> {
        let report = self.late.remove(&(node, number))?;
        self.received(now, node, number);
        Some(report)
    }

    /// A report has come: out of its turn, there is a gap.
    fn received(&mut self, now: Nanos, node: NodeId, number: u64) {
        let state = &mut self.nodes[node.index()];
        let expected = state.expected;
        state.expected = expected.max(number + 1);
        if number != expected {
            self.want_resync(now, node);
        }
    }

    fn want_resync(&mut self, now: Nanos, node: NodeId) {
        if !std::mem::replace(&mut self.nodes[node.index()].resyncs, true) {
            self.set(now + self.plan.resync, Timer::Resync(node));
        }
    }

    /// All reports so far are void: the whole is reported, or the cache is gone.
    pub(crate) fn void_reports(&mut self, node: NodeId) {
        let state = &mut self.nodes[node.index()];
        state.expected = state.next;
        self.late.retain(|&(other, _), _| other != node);
    }

    /// The timer of a whole report has come.
    pub(crate) fn resync_is_due(&mut self, node: NodeId) {
        self.nodes[node.index()].resyncs = false;
    }

    /// When a request that arrives now is cancelled, if it is.
    pub(crate) fn cancels(&self, now: Nanos, request: RequestId) -> Option<Nanos> {
        let cancel = self.plan.cancel?;
        let goes = self.cancels.below(2 * request.0, 1000) < u64::from(cancel.share.0);
        let after = self
            .cancels
            .below(2 * request.0 + 1, cancel.within.0.max(1));
        goes.then_some(now + Nanos(after))
    }
}

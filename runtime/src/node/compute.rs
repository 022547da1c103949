//! The engine's thread: one step after the other, blocking, away from everything that must answer at once.

use super::body::Inbox;
use conductor_core::cost::{CostModel, Costs};
use conductor_core::ids::NodeId;
use conductor_core::steps::StepRun;
use conductor_core::units::{Nanos, Tokens};
use conductor_engine::kv::{BlockId, KvRegion};
use conductor_engine::{Engine, EngineError, LayerDone, Step, StepOutput};
use conductor_messenger::Region;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// How far a prompt is, for who sends its KV meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Layers that are done, those of all chunks together.
    pub(super) layers: usize,
    /// The first token of the answer: all is computed and wanted.
    pub(super) first: Option<u32>,
    /// Nothing of it is sent any more.
    pub(super) ended: bool,
    /// Who ordered it has gone: it is not computed further than the step that is under way.
    pub(super) void: bool,
}

/// Steps to run one after the other; what comes out of the last one counts, which is nothing if they are void.
pub(super) struct Work {
    /// Blocks that others have filled since the work before.
    pub(super) arrived: Vec<BlockId>,
    pub(super) steps: Vec<Step>,
    pub(super) progress: Option<Arc<watch::Sender<Progress>>>,
}

/// Starts the thread; it ends when its sender is dropped.
pub(super) fn spawn(
    engine: Box<dyn Engine>,
    inbox: mpsc::Sender<Inbox>,
) -> std::io::Result<SyncSender<Work>> {
    let (work, orders) = sync_channel(1);
    std::thread::Builder::new()
        .name("engine".into())
        .spawn(move || run(engine, &orders, &inbox))?;
    Ok(work)
}

/// Says that the engine has died, if it has not ended in order.
struct Alive<'a>(&'a mpsc::Sender<Inbox>);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.blocking_send(Inbox::EngineDied);
        }
    }
}

fn run(mut engine: Box<dyn Engine>, orders: &Receiver<Work>, inbox: &mpsc::Sender<Inbox>) {
    let _alive = Alive(inbox);
    while let Ok(work) = orders.recv() {
        let done = compute(&mut *engine, &work);
        if inbox.blocking_send(Inbox::Computed(done)).is_err() {
            return;
        }
    }
}

fn compute(engine: &mut dyn Engine, work: &Work) -> Result<StepOutput, EngineError> {
    let mut output = StepOutput::default();
    engine.arrived(&work.arrived)?;
    for step in &work.steps {
        if (work.progress.as_ref()).is_some_and(|progress| progress.borrow().void) {
            return Ok(StepOutput::default());
        }
        output = engine.run(step, &mut |LayerDone { .. }| {
            if let Some(progress) = &work.progress {
                progress.send_modify(|progress| progress.layers += 1);
            }
        })?;
        if !output.failed.is_empty() {
            break;
        }
    }
    Ok(output)
}

/// The messenger's region, as engines see it.
pub(super) struct Memory(pub(super) Region);

impl KvRegion for Memory {
    fn len(&self) -> usize {
        self.0.bytes() as usize
    }

    fn read(&self, at: usize, into: &mut [u8]) {
        self.0.read(at as u64, into);
    }

    fn write(&self, at: usize, from: &[u8]) {
        self.0.write(at as u64, from);
    }
}

/// Sleeps that last as long as they shall, on the whole: the system wakes some 50 us late, later if it is busy, and by
/// as much the next sleep is shorter. What is done between two sleeps takes the time that it takes.
#[derive(Default)]
pub(super) struct Waker {
    /// How much too long was slept.
    late: Duration,
}

impl Waker {
    /// Shorter times are not slept: the system cannot.
    const LEAST: Duration = Duration::from_micros(1);

    pub(super) fn sleep(&mut self, time: Duration) {
        let rest = time.saturating_sub(self.late);
        if rest < Self::LEAST {
            self.late = self.late.saturating_sub(time);
            return;
        }
        let began = Instant::now();
        std::thread::sleep(rest);
        self.late = began.elapsed().saturating_sub(rest);
    }
}

/// What one node of a cluster costs.
pub(super) struct CostOf {
    pub(super) costs: Costs,
    pub(super) node: NodeId,
}

impl CostModel for CostOf {
    fn prefill(&self, prompt: Tokens, cached: Tokens) -> Nanos {
        self.costs.of(self.node).prefill(prompt, cached)
    }

    fn decode(&self, batch: u32, context: Tokens) -> StepRun {
        self.costs.of(self.node).decode(batch, context)
    }

    fn load(&self, cached: Tokens) -> Nanos {
        self.costs.of(self.node).load(cached)
    }

    fn pass(&self) -> Nanos {
        self.costs.of(self.node).pass()
    }
}

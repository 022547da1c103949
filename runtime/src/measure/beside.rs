//! Engines that compute without a pause while another one is timed.
//!
//! Nodes of one machine share its cores, caches and memory: an engine that was timed alone is faster than it will be.
//! Neighbours that never pause are the other extreme; which of the two a cluster is nearer to depends on its load.

use super::{Plan, Setting, step_of};
use conductor_engine::{Engine, EngineError, Step};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Engines at work until [`Self::end`], or until this is dropped.
#[derive(Debug)]
pub struct Beside {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<(), EngineError>>>,
}

impl Beside {
    /// Starts a thread for each engine, which takes turns at the plan's shortest prompt and at a decode step.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(engines: Vec<Box<dyn Engine>>, plan: &Plan) -> std::io::Result<Self> {
        let mut beside = Self {
            stop: Arc::new(AtomicBool::new(false)),
            threads: Vec::new(),
        };
        let first = |values: &[u32]| values.first().copied().unwrap_or(1);
        let settings = [
            Setting::Prefill {
                prompt: first(&plan.prompts),
                cached: 0,
            },
            Setting::Decode {
                batch: first(&plan.batches),
                context: first(&plan.contexts),
            },
        ];
        for engine in engines {
            let stop = Arc::clone(&beside.stop);
            let named = std::thread::Builder::new().name("beside".into());
            let thread = named.spawn(move || work(engine, settings, &stop))?;
            beside.threads.push(thread);
        }
        Ok(beside)
    }

    /// Stops them.
    ///
    /// # Errors
    /// If one of them has stopped by itself: then what was timed was not beside all of them.
    pub fn end(mut self) -> Result<(), EngineError> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.threads.drain(..).map(|thread| match thread.join() {
            Ok(ended) => ended,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        ended.collect()
    }
}

fn work(
    mut engine: Box<dyn Engine>,
    settings: [Setting; 2],
    stop: &AtomicBool,
) -> Result<(), EngineError> {
    let steps: Vec<Step> = settings
        .into_iter()
        .filter_map(|setting| step_of(&*engine, setting))
        .collect();
    if steps.is_empty() {
        let what = "no room for the shortest prompt, nor for a decode step".into();
        return Err(EngineError::BadStep { piece: 0, what });
    }
    for step in steps.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        engine.run(step, &mut |_| {})?;
    }
    Ok(())
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Nothing is claimed of them any more.
            let _ = thread.join();
        }
    }
}

//! Engines that compute without a pause while another one is timed.
//!
//! Nodes of one machine share its cores, caches and memory: an engine that was timed alone is faster than it will be.
//! Neighbours that never pause are the other extreme; which of the two a cluster is nearer to depends on its load.

use super::{Plan, Setting, step_of};
use conductor_engine::Engine;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Engines at work until this is dropped.
#[derive(Debug)]
pub struct Beside {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Beside {
    /// Starts a thread for each engine, which takes turns at the plan's shortest prompt and at a decode step.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(engines: Vec<Box<dyn Engine>>, plan: &Plan) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
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
        for mut engine in engines {
            let stop = Arc::clone(&stop);
            let work = move || {
                for setting in settings.into_iter().cycle() {
                    let step = step_of(&*engine, setting);
                    let failed = step.is_none_or(|step| engine.run(&step, &mut |_| {}).is_err());
                    if failed || stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            };
            let named = std::thread::Builder::new().name("beside".into());
            threads.push(named.spawn(work)?);
        }
        Ok(Self { stop, threads })
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

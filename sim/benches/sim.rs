//! What a whole replay costs: 2,000 requests on eight prefill and eight decode nodes.
//!
//! Numbers that were measured are in `benches/README.md`.

use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_core::ids::{BlockHash, ClassId};
use conductor_core::rng::Stream;
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use conductor_sim::{FaultPlan, Mode, Observer, RetryConfig, RunConfig, run};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::convert::Infallible;
use std::time::Duration;

const REQUESTS: u64 = 2_000;

/// Sessions of several turns, each of which has all of the one before as its prefix; a mean of some 8,000 tokens in and
/// 340 out, 3 requests a second. Made here, so that the simulator's costs do not hang on a generator.
fn workload() -> Vec<WorkloadRequest> {
    let draws = Stream::new(1, "bench-workload");
    let request = |i: u64| {
        let draw = |place: u64, bound: u64| draws.below(4 * i + place, bound);
        // A session of eight turns is spread over eight times sixteen requests.
        let (session, turn) = (i / 128 * 16 + i % 16, i % 128 / 16);
        let blocks = 4 + turn * 3 + draw(1, 2);
        let block = |place: u64| {
            BlockHash(if place < 2 {
                place
            } else {
                session << 16 | place
            })
        };
        WorkloadRequest {
            class: ClassId::default(),
            workflow: None,
            arrival: Nanos(i * 333_333_333),
            input: Tokens(blocks * 512 - draw(2, 512)),
            output: Tokens(1 + draw(3, 680)),
            blocks: (0..blocks).map(block).collect(),
        }
    };
    (0..REQUESTS).map(request).collect()
}

fn replay(c: &mut Criterion) {
    let requests = workload();
    let mut group = c.benchmark_group("replay of 2,000 requests, 8p8d");
    group.throughput(Throughput::Elements(REQUESTS));
    for (name, mode) in [
        ("jumping", Mode::FastForward),
        ("stepping", Mode::StepByStep),
    ] {
        let config = RunConfig {
            cluster: ClusterConfig::built_in("8p8d").expect("built in"),
            policy: PolicyConfig::built_in("kvcache-centric").expect("built in"),
            retry: RetryConfig::default(),
            closed_loop: None,
            faults: FaultPlan::default(),
            seed: 1,
            mode,
            node_samples: false,
        };
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let requests = requests.iter().cloned().map(Ok::<_, Infallible>);
                run(&config, requests, Observer::default()).expect("the run ends")
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = sim;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = replay
}
criterion_main!(sim);

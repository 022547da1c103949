//! Memory follows what is in the system and what is cached, not how many requests there have been: counted by an
//! allocator of this binary's own.

use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_core::ids::{BlockHash, ClassId};
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use conductor_sim::record::RequestRecord;
use conductor_sim::{FaultPlan, Mode, Observer, RetryConfig, RunConfig};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;

/// The system's allocator, which knows how much each thread has.
struct Counting;

thread_local! {
    /// Bytes that this thread has, and the most that it has had since it last looked; constant initialisation and no
    /// destructor, so that looking does not allocate.
    static BYTES: Cell<(i64, i64)> = const { Cell::new((0, 0)) };
}

fn count(bytes: i64) {
    let (has, most) = BYTES.get();
    BYTES.set((has + bytes, most.max(has + bytes)));
}

#[expect(
    unsafe_code,
    reason = "the allocator's trait is unsafe; each method hands its arguments on unchanged"
)]
// SAFETY: the contract is kept by `System`, which gets every call as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Prompts of ten blocks, of which the first three are shared for a while and the others are never seen again.
fn requests(number: u64) -> impl Iterator<Item = Result<WorkloadRequest, Infallible>> {
    (0..number).map(|i| {
        let shared = (0..3).map(|depth| (i / 50) * 10 + depth);
        let own = (0..7).map(|depth| (1 << 40) + i * 10 + depth);
        Ok(WorkloadRequest {
            arrival: Nanos::from_millis(1_500 * i),
            input: Tokens(5_000),
            output: Tokens(20),
            blocks: shared.chain(own).map(BlockHash).collect(),
            class: ClassId::default(),
            workflow: None,
        })
    })
}

/// The most memory that a run of so many requests has at a time.
fn peak(number: u64) -> i64 {
    let cluster = "name = \"small\"\n[[nodes]]\ncount = 3\nrole = \"prefill\"\ncache_tokens = 102400\nssd_tokens = 204800\nssd_gbytes_per_s = 6\n\
                   [[nodes]]\ncount = 2\nrole = \"decode\"\n";
    let config = RunConfig {
        cluster: ClusterConfig::parse(cluster, &[]).expect("valid"),
        policy: PolicyConfig::built_in("kvcache-centric+early-predicted").expect("built in"),
        retry: RetryConfig::default(),
        closed_loop: None,
        faults: FaultPlan::default(),
        seed: 1,
        mode: Mode::FastForward,
        node_samples: false,
    };
    let mut ended = 0;
    let mut take = |_: &RequestRecord| ended += 1;
    let observer = Observer {
        records: Some(&mut take),
        ..Observer::default()
    };
    let before = BYTES.get().0;
    BYTES.set((before, before));
    let result = conductor_sim::run(&config, requests(number), observer).expect("it ends");
    let most = BYTES.get().1 - before;
    assert_eq!((ended, result.records.len()), (number, 0));
    // One sample a second, which are thinned out after twelve days.
    let samples = size_of_val(&result.timeline.pools[..]) * 2;
    most - samples as i64
}

#[test]
fn memory_does_not_grow_with_the_number_of_requests() {
    // Each cache has been filled and emptied many times over in the first of them.
    let (some, many) = (peak(2_000), peak(16_000));
    assert!(
        many <= some + some / 20,
        "{many} bytes for eight times the requests of {some} bytes"
    );
}

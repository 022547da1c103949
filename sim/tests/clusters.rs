//! Small random clusters and workloads in which everything is scarce: HBM, caches, links.

use conductor_core::config::{ClusterConfig, PolicyConfig, Profile};
use conductor_core::ids::{BlockHash, ClassId};
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use conductor_sim::{FaultPlan, Mode, Observer, RetryConfig, RunConfig, RunResult};
use proptest::prelude::*;
use std::convert::Infallible;

/// Tokens in a block.
pub(crate) const BLOCK: u64 = 16;

/// A cluster, a policy and what comes.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) profile: String,
    pub(crate) cluster: String,
    pub(crate) policy: String,
    pub(crate) seed: u64,
    pub(crate) requests: Vec<WorkloadRequest>,
}

impl Scenario {
    pub(crate) fn config(&self, mode: Mode) -> RunConfig {
        let profile = Profile::parse(&self.profile).expect("the profile is valid");
        RunConfig {
            cluster: ClusterConfig::parse(&self.cluster, &[profile]).expect("the cluster is valid"),
            policy: PolicyConfig::parse(&self.policy).expect("the policy is valid"),
            retry: RetryConfig::default(),
            closed_loop: None,
            faults: FaultPlan::default(),
            seed: self.seed,
            mode,
            node_samples: false,
        }
    }

    pub(crate) fn run(&self, mode: Mode) -> RunResult {
        self.run_observed(mode, Observer::default())
    }

    pub(crate) fn run_observed(&self, mode: Mode, observer: Observer<'_>) -> RunResult {
        let requests = self.requests.iter().cloned().map(Ok::<_, Infallible>);
        conductor_sim::run(&self.config(mode), requests, observer).expect("the run ends")
    }
}

/// A profile with odd numbers. `table` prices decode steps by a table instead of a formula.
pub(crate) fn profile(table: bool, nic: f64, load: f64, layers: u32) -> String {
    let decode = if table {
        "model = \"table\"\nrows = [1, 3, 9]\ncolumns = [10, 70, 333]\n\
         seconds = [[0.0021, 0.0023, 0.0037], [0.0025, 0.0031, 0.0042], [0.0041, 0.0057, 0.0091]]"
    } else {
        "model = \"polynomial\"\nbase_s = 2.13e-3\nrequest_s = 0.317e-3\ncontext_token_s = 1.77e-7"
    };
    format!(
        "name = \"small\"\nsource = \"none\"\nengine = \"none\"\ndate = \"2026\"\n\
         kv_bytes_per_token = 1000\nlayers = {layers}\nschedule_s = 0.0007\ncache_tokens = 320\n\
         hbm_kv_tokens = 640\nprefill_chunk_tokens = 50\n\
         activation_bytes_per_token = 300\nnic_gbytes_per_s = {nic}\nload_gbytes_per_s = {load}\n\
         [prefill]\nmodel = \"polynomial\"\nbase_s = 1.3e-3\ntoken_s = 0.11e-3\ntoken2_s = 0.7e-7\n\
         hit_base_s = 0.2e-3\ncached_token_s = 0.9e-6\n[decode]\n{decode}\n"
    )
}

/// One to four prefill and one to three decode nodes of that profile.
fn clusters() -> impl Strategy<Value = String> {
    let nodes = (1_u64..5, 0_u64..30, 1_u64..4, 3_u64..40);
    let pipeline = prop_oneof![3 => Just(1), 1 => 2_u64..5];
    // SSDs from fast to so slow that reading takes longer than computing, and HBM that keeps a little.
    let ssd = prop_oneof![2 => Just(None), 1 => (1_u64..60, prop_oneof![Just(1.0), Just(0.003)]).prop_map(Some)];
    let tiers = (ssd, prop_oneof![Just(0), 1_u64..20]).prop_map(|(ssd, hbm)| {
        let ssd = ssd.map_or(String::new(), |(blocks, bandwidth)| {
            let tokens = blocks * BLOCK;
            format!("ssd_tokens = {tokens}\nssd_gbytes_per_s = {bandwidth:?}\n")
        });
        format!("{ssd}hbm_cache_tokens = {}\n", hbm * BLOCK)
    });
    let network = prop_oneof![
        3 => Just(""),
        1 => Just("[network]\nnics = 3\nstriped = false\n"),
        1 => Just("[kv]\ncompression = 1.7\ncompress_gbytes_per_s = 0.1\ndecompress_gbytes_per_s = 0.2\n"),
    ];
    let pipeline = (pipeline, tiers, network);
    let noise = prop_oneof![Just((0.0, 0.0)), Just((0.3, 0.2))];
    let estimate = prop_oneof![Just(1.0), Just(0.4), Just(3.0)];
    (nodes, pipeline, noise, estimate).prop_map(|(nodes, pipeline, noise, estimate)| {
        let (prefill, cache, decode, hbm) = nodes;
        let (pipeline, tiers, network) = pipeline;
        format!(
            "name = \"scarce\"\nprofile = \"small\"\nblock_tokens = {BLOCK}\n\
             [[nodes]]\ncount = {prefill}\nrole = \"prefill\"\ncache_tokens = {}\npipeline = {pipeline}\n{tiers}\
             [[nodes]]\ncount = {decode}\nrole = \"decode\"\nhbm_kv_tokens = {}\n{network}\
             [limits]\nlive_requests = 12\n\
             [estimate]\nprefill_factor = {estimate:?}\ndecode_factor = {estimate:?}\n\
             [truth]\nprefill_noise = {:?}\ndecode_noise = {:?}\n",
            cache * BLOCK,
            hbm * BLOCK,
            noise.0,
            noise.1,
        )
    })
}

fn policies() -> impl Strategy<Value = String> {
    let eviction = prop_oneof![Just("lru"), Just("lfu"), Just("length-aware")];
    let decode = prop_oneof![Just("least-tbt"), Just("least-loaded")];
    // Fetching is the most intricate: half of the runs do it.
    let prefill = 0..2 * PolicyConfig::BUILT_IN.len();
    (prefill, decode, eviction, 0_u64..60).prop_map(|(prefill, decode, eviction, reserve)| {
        let prefill = PolicyConfig::BUILT_IN[prefill.min(5)];
        format!(
            "[prefill]\nselect = \"{prefill}\"\n[decode]\nselect = \"{decode}\"\n\
             output_reserve_tokens = {reserve}\n[eviction]\nselect = \"{eviction}\"\n"
        )
    })
}

/// Bursts of prompts from a few families that share their first blocks; some answers have one token, some prompts fit
/// nowhere, and for some nothing is known of blocks.
fn workloads() -> impl Strategy<Value = Vec<WorkloadRequest>> {
    let gap = prop_oneof![2 => Just(0_u64), 2 => 0_u64..4_000_000, 1 => 0_u64..300_000_000];
    let output = prop_oneof![1 => Just(1_u64), 4 => 2_u64..120];
    let request = (gap, 0_u64..4, 1_u64..24, 0..BLOCK, output, 0_u8..10);
    proptest::collection::vec(request, 1..40).prop_map(|rows| {
        let mut arrival = Nanos::ZERO;
        let request = |(gap, family, blocks, lacks, output, known)| {
            arrival += Nanos(gap);
            let block = |place| {
                BlockHash(if place < 4 {
                    place
                } else {
                    family << 10 | place
                })
            };
            WorkloadRequest {
                class: ClassId::default(),
                workflow: None,
                arrival,
                input: Tokens(blocks * BLOCK - lacks),
                output: Tokens(output),
                blocks: if known == 0 {
                    Vec::new()
                } else {
                    (0..blocks).map(block).collect()
                },
            }
        };
        rows.into_iter().map(request).collect()
    })
}

/// Seconds of traffic, first of long prompts with short answers, then the other way round, to a cluster whose nodes
/// change their roles at the first opportunity.
pub(crate) fn switching() -> impl Strategy<Value = Scenario> {
    let request = (0_u64..45_000_000, 0_u64..4, 0..BLOCK, 0_u64..20);
    let half = || proptest::collection::vec(request.clone(), 30..120);
    (scenarios(), half(), half(), 2_u64..5, 2_u64..4).prop_map(
        |(mut scenario, first, second, prefill, decode)| {
            scenario.cluster = format!(
                "name = \"switching\"\nprofile = \"small\"\nblock_tokens = {BLOCK}\n\
                 [[nodes]]\ncount = {prefill}\nrole = \"prefill\"\nhbm_kv_tokens = 2000\n\
                 [[nodes]]\ncount = {decode}\nrole = \"decode\"\nhbm_kv_tokens = 2000\n\
                 [truth]\nprefill_noise = 0.3\ndecode_noise = 0.2\n"
            );
            scenario.policy += "[slo]\nttft_s = 0.03\ntbt_s = 0.01\n[roles]\nselect = \"load-gap\"\ngap = 0.05\n\
                 busy_min = 0.2\nhold_s = 0.1\ncooldown_s = 0.1\nnodes_min = 1\n";
            let (mut arrival, half) = (Nanos::ZERO, first.len());
            let rows = first.into_iter().chain(second).enumerate();
            let request = |(i, (gap, family, lacks, more)): (usize, _)| {
                arrival += Nanos(gap);
                let (blocks, output) = if i < half { (20 + more, 2) } else { (2, 60 + 8 * more) };
                WorkloadRequest {
                    class: ClassId::default(),
                    workflow: None,
                    arrival,
                    input: Tokens(blocks * BLOCK - lacks),
                    output: Tokens(output),
                    blocks: (0..blocks).map(|place| BlockHash(family << 10 | place)).collect(),
                }
            };
            scenario.requests = rows.map(request).collect();
            scenario
        },
    )
}

/// Coupled nodes of every form, with HBM so small that requests lose their KV; in some clusters beside prefill and
/// decode
/// nodes.
pub(crate) fn coupled() -> impl Strategy<Value = Scenario> {
    let schedule = prop_oneof![Just("prefill-first"), Just("chunked")];
    let engine = (schedule, any::<bool>(), 1_u64..200, 1_u64..9, 0_u64..30);
    let nodes = (1_u64..4, 25_u64..60, any::<bool>());
    let noise = prop_oneof![Just((0.0, 0.0)), Just((0.3, 0.2))];
    (scenarios(), engine, nodes, noise).prop_map(|(mut scenario, engine, nodes, noise)| {
        let (schedule, caching, pass, requests, watermark) = engine;
        let (count, hbm, beside) = nodes;
        let pools = if beside {
            "[[nodes]]\ncount = 1\nrole = \"prefill\"\n[[nodes]]\ncount = 1\nrole = \"decode\"\n"
        } else {
            ""
        };
        scenario.cluster = format!(
            "name = \"coupled\"\nprofile = \"small\"\nblock_tokens = {BLOCK}\n\
             [[nodes]]\ncount = {count}\nrole = \"coupled\"\nhbm_kv_tokens = {}\n{pools}\
             [coupled]\nschedule = \"{schedule}\"\nprefix_caching = {caching}\npass_tokens = {pass}\n\
             batch_requests = {requests}\nwatermark = {:?}\n\
             [truth]\nprefill_noise = {:?}\ndecode_noise = {:?}\n",
            hbm * BLOCK,
            watermark as f64 / 100.0,
            noise.0,
            noise.1,
        );
        scenario
    })
}

pub(crate) fn scenarios() -> impl Strategy<Value = Scenario> {
    // From links that nobody notices to such that a prompt's KV takes longer than its prefill.
    let links = prop_oneof![Just(100.0), Just(0.05), Just(0.004)];
    let profile = (any::<bool>(), links.clone(), links, 1_u32..5)
        .prop_map(|(table, nic, load, layers)| profile(table, nic, load, layers));
    (profile, clusters(), policies(), 0_u64..100, workloads()).prop_map(
        |(profile, cluster, policy, seed, requests)| Scenario {
            profile,
            cluster,
            policy,
            seed,
            requests,
        },
    )
}

use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_sim::*;
use conductor_traces::formats::{ReadOptions, open};
fn main() {
    let t0 = std::time::Instant::now();
    let rows: Vec<_> = open("../shared/traces/conversation_trace.jsonl", &ReadOptions::default()).unwrap().map(|r| r.unwrap()).collect();
    println!("read {:?}", t0.elapsed());
    let cluster = std::env::args().nth(1).unwrap_or("8p8d".into());
    for name in PolicyConfig::BUILT_IN {
      for mode in [Mode::FastForward, Mode::StepByStep] {
        let config = RunConfig { cluster: ClusterConfig::built_in(&cluster).unwrap(), policy: PolicyConfig::built_in(name).unwrap(), seed: 1, mode, node_samples: false };
        let t = std::time::Instant::now();
        let result = run(&config, rows.iter().cloned().map(Ok::<_, std::io::Error>), Observer::default()).unwrap();
        let wall = t.elapsed();
        let r = RunReport::new(&config, &result, report::RunLabels::default());
        println!("{name:20} {wall:?} ttft {:.3} p50 {:.3} p90 {:.3} tbt {:.4} p90 {:.4} eff {:.4} hit {:.4} repl {} gb {:.0} x {:.4} gpu {:.3} ev {} pl {:.3} dl {:.3} {}", r.ttft_s.mean, r.ttft_s.p50, r.ttft_s.p90, r.tbt_s.mean, r.tbt_s.p90, r.effective_ratio, r.hit_ratio_tokens, r.replications, r.transfer.gb, r.transfer.mean_s, r.prefill_gpu_s_mean, r.events, r.prefill_load.mean, r.decode_load.mean, r.digest);
        if name != "kvcache-centric" { break; }
      }
    }
}

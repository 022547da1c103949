//! scratch
use conductor_core::units::Tokens;
use conductor_traces::formats::TraceWriter;
use conductor_traces::generate::{GenerateOptions, Workload};
fn main() {
    let seed: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let n: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let mut w = TraceWriter::create(std::env::args().nth(3).unwrap(), Tokens(512)).unwrap();
    for r in Workload::builtin("kimi-conversation").unwrap().generate(
        seed,
        &GenerateOptions {
            requests: Some(n),
            ..Default::default()
        },
    ) {
        w.write(&r).unwrap();
    }
    w.finish().unwrap();
}

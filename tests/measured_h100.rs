//! The simulator's coupled engine against 45 measurements: Llama-3.1-70B FP8 with vLLM on H100s, a closed loop of
//! clients.
//!
//! The profiles are fitted to the points with 8 and 32 clients (`experiments/CALIBRATION.md`), in closed form, without
//! the
//! simulator; the points with 4, 16 and 64 clients judge. Each is simulated as it was measured, as far as the file
//! says:
//! one node, chunked prefill with 8,192 tokens a pass (vLLM's default there), 10 requests a client, no shared prefix.
//! What
//! the closed form had to leave out is simulated too: TP2 with more KV than fits, where requests wait and lose their
//! KV.
//!
//! `cargo test --test all measured -- --nocapture` prints the table. Disaggregated points of the file are of models
//! that
//! no profile exists for.

use crate::common::{file, root};
use conductor_core::config::{ClusterConfig, Profile};
use conductor_core::units::{Nanos, Tokens};
use conductor_experiments::execute::{Job, execute};
use conductor_experiments::inputs::{self, WorkloadInput};
use conductor_sim::{FaultPlan, Observer};
use std::io::Read;
use std::num::NonZeroU32;

/// Answers are this much shorter or longer than the nominal length, evenly: with equal answers all clients would send
/// their next prompts in the same instant for ever, which no benchmark does. The file does not say how lengths vary.
const SPREAD: f64 = 0.2;

/// One measured point.
struct Point {
    tp: u64,
    input: u64,
    output: u64,
    clients: u32,
    ttft_s: f64,
    tpot_s: f64,
}

impl Point {
    /// True if its profile was not fitted to it.
    fn judges(&self) -> bool {
        !matches!(self.clients, 8 | 32)
    }

    fn profile(&self) -> Profile {
        let name = format!("h100-llama3-70b-fp8-tp{}", self.tp);
        Profile::built_in(&name).expect("built in")
    }

    /// True if all clients' requests fit into HBM at once.
    fn fits(&self) -> bool {
        let needed = (self.input + self.output) * u64::from(self.clients);
        needed <= self.profile().hbm.0
    }
}

fn points() -> Vec<Point> {
    let bytes =
        std::fs::read(root().join("../shared/calibration/aiconfigurator/measured_h100.csv.gz"));
    let mut text = String::new();
    let bytes = bytes.expect("the measurements are beside the traces");
    flate2::read::GzDecoder::new(&bytes[..])
        .read_to_string(&mut text)
        .expect("a compressed text");
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let place = |name| {
        let found = names.iter().position(|column| *column == name);
        found.expect("the column is there")
    };
    let [model, backend, mode] = ["model_path", "backend", "mode"].map(place);
    let [tp, input, output, clients] = ["tp_size", "isl", "osl", "batch_size"].map(place);
    let [ttft, tpot] = ["silicon_ttft_ms", "silicon_tpot_ms"].map(place);
    let rows = lines.map(|line| line.split(',').collect::<Vec<_>>());
    let wanted = rows.filter(|row| {
        row[model].ends_with("Llama-3.1-70B") && row[backend] == "vllm" && row[mode] == "agg"
    });
    let point = |row: Vec<&str>| {
        let whole = |place: usize| row[place].parse::<u64>().expect("a whole number");
        let ms = |place: usize| row[place].parse::<f64>().expect("a number") / 1e3;
        Point {
            tp: whole(tp),
            input: whole(input),
            output: whole(output),
            clients: whole(clients) as u32,
            ttft_s: ms(ttft),
            tpot_s: ms(tpot),
        }
    };
    wanted.map(point).collect()
}

/// Mean TTFT and TPOT of the simulated point, and how often a request lost its KV.
fn simulated(point: &Point) -> (f64, f64, u64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (input, output) = (point.input, point.output);
    let workload = format!(
        "name = \"fixed\"\ndescription = \"fixed\"\nrate = 1.0\nrequests = {}\nblock_tokens = 512\n\
         [arrivals]\nprocess = \"poisson\"\n[start]\ninput = [{input}]\noutput = [{}, {}]\n",
        point.clients * 10,
        (output as f64 * (1.0 - SPREAD)) as u64,
        (output as f64 * (1.0 + SPREAD)) as u64,
    );
    file(folder.path(), "fixed.toml", &workload);
    let path = folder.path().join("fixed.toml");
    let mut workload = WorkloadInput::workload(&path.to_string_lossy()).expect("valid");
    workload.concurrency = NonZeroU32::new(point.clients);
    let cluster = format!(
        "name = \"h100\"\nprofile = \"h100-llama3-70b-fp8-tp{}\"\n[[nodes]]\ncount = 1\nrole = \"coupled\"\n\
         [coupled]\nschedule = \"chunked\"\npass_tokens = 8192\nbatch_requests = 256\n",
        point.tp
    );
    let job = Job {
        workload,
        cluster: ClusterConfig::parse(&cluster, &[]).expect("valid"),
        policy: inputs::policy("least-loaded").expect("built in"),
        seed: 1,
        node_samples: false,
        records: true,
        faults: FaultPlan::default(),
    };
    let done = execute(&job, Observer::default()).expect("it runs");
    assert_eq!(done.report.completed, u64::from(point.clients) * 10);
    let inputs = done.result.records.iter().map(|record| record.input);
    assert!(inputs.clone().all(|tokens| tokens == Tokens(input)));
    assert!(done.result.simulated > Nanos::ZERO);
    let report = &done.report;
    (report.ttft_s.mean, report.tpot_s.mean, report.recomputed)
}

/// Median, 95th percentile and maximum, in percent.
fn summary(mut errors: Vec<f64>) -> [f64; 3] {
    errors.sort_by(f64::total_cmp);
    let at = |share: f64| errors[((errors.len() as f64 * share).ceil() as usize).max(1) - 1];
    [at(0.5), at(0.95), at(1.0)]
}

#[test]
#[cfg_attr(
    not(has_calibration_data),
    ignore = "../shared/calibration is not here: experiments/CALIBRATION.md says where its files are from"
)]
fn the_coupled_engine_meets_what_was_measured() {
    let mut judged = [Vec::new(), Vec::new()];
    let mut fitted = [Vec::new(), Vec::new()];
    let mut waiting = [Vec::new(), Vec::new()];
    println!(
        "TP  input output clients |  TTFT measured simulated error |  TPOT measured simulated error | lost KV"
    );
    for point in points() {
        let (ttft, tpot, recomputed) = simulated(&point);
        let errors = [ttft / point.ttft_s - 1.0, tpot / point.tpot_s - 1.0];
        let (kind, of) = match (point.fits(), point.judges()) {
            (false, _) => ("waits for HBM", &mut waiting),
            (true, true) => ("judges", &mut judged),
            (true, false) => ("fitted", &mut fitted),
        };
        for (all, error) in of.iter_mut().zip(errors) {
            all.push(error.abs() * 100.0);
        }
        println!(
            "{:2} {:6} {:6} {:7} | {:8.1} ms {:8.1} ms {:+6.1} % | {:8.2} ms {:8.2} ms {:+6.1} % | {recomputed:3} {kind}",
            point.tp,
            point.input,
            point.output,
            point.clients,
            point.ttft_s * 1e3,
            ttft * 1e3,
            errors[0] * 100.0,
            point.tpot_s * 1e3,
            tpot * 1e3,
            errors[1] * 100.0,
        );
    }
    for (name, of) in [
        ("judges", &judged),
        ("fitted", &fitted),
        ("waits for HBM", &waiting),
    ] {
        for (what, errors) in ["TTFT", "TPOT"].iter().zip(of) {
            let [median, p95, max] = summary(errors.clone());
            println!(
                "{name}, {what}: {} points, median {median:.1} %, p95 {p95:.1} %, max {max:.1} %",
                errors.len()
            );
        }
    }
    // The points that need more KV than fits judge as well: nothing was fitted to them.
    let all = |place: usize| [&judged[place][..], &waiting[place][..]].concat();
    assert!(summary(all(0))[0] <= 20.0, "TTFT");
    assert!(summary(all(1))[0] <= 10.0, "TPOT");
}

//! What can be typed behind `conductor calibrate`.

use clap::Args as ClapArgs;
use std::path::PathBuf;

pub(super) const LONG_ABOUT: &str = "Fit a hardware profile to measurements.

DATA is CSV, plain or .gz. The project's own has one timing a row; which columns count depends on `kind`:

  kind,prompt,cached,batch,context,chunk,chunk_cached,seconds
  prefill,8192,0,,,,,0.83           a prompt behind its first `cached` tokens, alone
  decode,,,32,4096,,,0.0241         a step of `batch` requests, `context` KV tokens each
  mixed,,,32,4096,512,0,0.0712      both in one pass: `chunk` tokens behind `chunk_cached`

Lines such as `# engine: vLLM 0.14` (also gpu, model, tp, date, source) before the header are kept in the profile. \
Understood as well, by their header: splitwise-sim's perf_model.csv, aiconfigurator's composed passes and its measured \
TTFT and TPOT of closed loops, and LLMServingSim's attention grid (which gives no profile, but says what a mixed batch \
costs beside its parts).

  prefill = base + token (n - p) + token2 (n^2 - p^2) + [p > 0] hit + cached p
  decode  = base + request B + context KV

by least squares of relative errors, without negative coefficients. A table takes a polynomial's place if the \
polynomial's error on settings that it has not seen is above --limit or --limit-p95 and the table's is smaller. What \
timings cannot say (KV bytes, memory, links, host time) is --base's, or set.";

const EXAMPLES: &str = "Examples:
  conductor calibrate timings.csv -o my-gpu.toml
  conductor calibrate perf_model.csv --model llama2-70b --gpu h100-80gb --tp 8 -o h100.toml
  conductor calibrate composed.csv --gpu a100_sxm --tp 4 -o a100-tp4.toml
  conductor calibrate timings.csv -o my-gpu.toml --set 'nic_gbytes_per_s=50 # ib_write_bw'
  conductor calibrate timings.csv -o my-gpu.toml --plot fit.svg
  conductor cost my-gpu.toml                 prices with it; a cluster file names it as its profile";

#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CalibrateArgs {
    /// Measurements: CSV, plain or .gz.
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,
    /// Profile to write.
    #[arg(short, long, value_name = "PROFILE.toml")]
    pub(crate) output: Option<PathBuf>,
    /// Only rows of this accelerator, as the file calls it.
    #[arg(long, value_name = "NAME")]
    pub(crate) gpu: Option<String>,
    /// Only rows of this model, as the file calls it.
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Only rows of so many accelerators together (tensor parallel).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) tp: Option<u32>,
    /// Only rows of this engine, as the file calls it.
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<String>,
    /// Name of the profile, `<gpu>-<model>` [default: that of the file written].
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Where the measurements are from [default: what the data says].
    #[arg(long, value_name = "TEXT")]
    pub(crate) source: Option<String>,
    /// Engine and version that was measured [default: what the data says].
    #[arg(long, value_name = "TEXT")]
    pub(crate) engine: Option<String>,
    /// When it was measured [default: what the data says].
    #[arg(long, value_name = "TEXT")]
    pub(crate) date: Option<String>,
    /// Profile that has what timings cannot say: a built-in name or a TOML file.
    #[arg(long, value_name = "PROFILE", default_value = "a800-llama3-70b")]
    pub(crate) base: String,
    /// A number in place of the base's, with its reason: kv_bytes_per_token, layers, schedule_s, cache_tokens,
    /// hbm_kv_tokens, prefill_chunk_tokens, nic_gbytes_per_s, load_gbytes_per_s, hit_base_s or cached_token_s.
    #[arg(long, value_name = "KEY=NUMBER # reason")]
    pub(crate) set: Vec<String>,
    /// Make every timing longer by this many seconds for each computed token: "SECONDS # reason". For hardware that was
    /// not
    /// measured and differs in one part, as in slower links; the profile says that it is derived.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) token_slower: Option<String>,
    /// Memory of one accelerator, 10^9 bytes: with --weights-gb, room for KV follows.
    #[arg(long, value_name = "GB", requires = "weights_gb")]
    pub(crate) memory_gb: Option<f64>,
    /// All weights of the model together, 10^9 bytes.
    #[arg(long, value_name = "GB", requires = "memory_gb")]
    pub(crate) weights_gb: Option<f64>,
    /// Median held-out error of a polynomial above which a table is tried, percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    pub(crate) limit: f64,
    /// The same of the 95th percentile.
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0)]
    pub(crate) limit_p95: f64,
    /// TTFT and TPOT data: fit to these numbers of clients, judge by the others [default: fit to all].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) fit_concurrency: Vec<u32>,
    /// TTFT and TPOT data: requests that each client made one after the other.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rounds: u32,
    /// Draw fit against points: FILE.svg gives FILE-prefill.svg and FILE-decode.svg.
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,
    /// Print one JSON document and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

//! Where the well-known traces lie.
//!
//! The project carries none of them: `traces/fetch.sh` puts them into `traces/data/`, and a checkout beside a
//! folder `shared/traces/` finds them there.

use std::path::{Path, PathBuf};

/// Names that `--trace` knows, with the file each stands for.
pub const NAMED_TRACES: [(&str, &str); 4] = [
    ("conversation", "conversation_trace.jsonl"),
    ("synthetic", "synthetic_trace.jsonl"),
    ("toolagent", "toolagent_trace.jsonl"),
    ("azure-conv", "AzureLLMInferenceTrace_conv.csv"),
];

/// The file of a named trace, if it is at hand: under `root`, else under the workspace this was built from.
///
/// Looked for in `traces/data/`, then in `../shared/traces/`; plain, then with `.gz`, then with `.zst`.
#[must_use]
pub fn locate(name: &str, root: &Path) -> Option<PathBuf> {
    let (_, file) = NAMED_TRACES.iter().find(|(known, _)| *known == name)?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for root in [root, &workspace] {
        for folder in ["traces/data", "../shared/traces"] {
            for suffix in ["", ".gz", ".zst"] {
                let path = root.join(folder).join(format!("{file}{suffix}"));
                if path.is_file() {
                    return Some(path);
                }
            }
        }
    }
    None
}

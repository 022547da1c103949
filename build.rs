//! Tells reports which commit was checked out when they were built, and the tests which real traces and measurements
//! are at hand.
//!
//! The project carries no real trace: `traces/fetch.sh` gets them. A test that needs one is ignored, with the
//! reason printed, where the file is in neither place; libtest decides that at compile time, hence these flags.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=CONDUCTOR_COMMIT={}", commit());
    for (flag, file) in [
        ("has_conversation_trace", "conversation_trace.jsonl"),
        ("has_synthetic_trace", "synthetic_trace.jsonl"),
    ] {
        println!("cargo::rustc-check-cfg=cfg({flag})");
        // The same places, in the same order, as `locate` in traces/src/formats/locate.rs.
        for folder in ["traces/data", "../shared/traces"] {
            let path = Path::new(folder).join(file);
            println!("cargo::rerun-if-changed={}", path.display());
            if path.is_file() {
                println!("cargo::rustc-cfg={flag}");
                break;
            }
        }
    }
    println!("cargo::rustc-check-cfg=cfg(has_calibration_data)");
    let data = Path::new("../shared/calibration/README.md");
    println!("cargo::rerun-if-changed={}", data.display());
    if data.is_file() {
        println!("cargo::rustc-cfg=has_calibration_data");
    }
}

/// The commit that is checked out, in short; `unknown` without git.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_string())
    };
    // A new commit is a new report; `logs/HEAD` changes with each.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_string())
}

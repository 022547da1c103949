//! Tells the tests which real traces and figures are at hand.
//!
//! The project carries no real trace: `traces/fetch.sh` gets them. A test that needs one is ignored, with the
//! reason printed, where the file is in neither place; libtest decides that at compile time, hence these flags.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The same places as in src/formats/locate.rs.
    let folders = ["data", "../../shared/traces"].map(Path::new);
    // Only folders that are there: what is missing would count as changed, and everything be built anew each time.
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    for (flag, file) in [
        ("has_conversation_trace", "conversation_trace.jsonl"),
        ("has_synthetic_trace", "synthetic_trace.jsonl"),
        ("has_azure_trace", "AzureLLMInferenceTrace_conv.csv"),
    ] {
        println!("cargo::rustc-check-cfg=cfg({flag})");
        if folders.iter().any(|folder| folder.join(file).is_file()) {
            println!("cargo::rustc-cfg={flag}");
        }
    }
    // Figures of the report, decoded.
    let figures = Path::new("../../shared/reference/figures");
    let histograms = ["input", "output"]
        .map(|quantity| figures.join(format!("toolagent_{quantity}_length_hist_v3fig5.csv")));
    println!("cargo::rustc-check-cfg=cfg(has_toolagent_histograms)");
    if histograms.iter().all(|file| file.is_file()) {
        for file in histograms {
            println!("cargo::rerun-if-changed={}", file.display());
        }
        println!("cargo::rustc-cfg=has_toolagent_histograms");
    }
}

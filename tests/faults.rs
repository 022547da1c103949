//! `replay --faults`: what happened is counted, the journal holds, and a bad plan is refused in one line.

use crate::common::{conductor, file, stdout};
use std::path::Path;

const PLAN: &str = "[cancel]\nshare = 0.05\nwithin_s = 20\n\
     [draw]\nuntil_s = 100\ngap_s = 10\nlength_s = 5\n\
     [[faults]]\nkind = \"crash\"\nat_s = 20\nfor_s = 30\nnode = 1\n\
     [[faults]]\nkind = \"restart-conductor\"\nat_s = 60\n";

fn replay(more: &[&str], folder: &Path) -> String {
    let base = ["replay", "--requests", "300", "--cluster", "2p2d"];
    stdout(&[&base[..], more].concat(), folder)
}

#[test]
fn a_run_with_faults_is_repeatable_and_its_journal_holds() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    file(folder.path(), "faults.toml", PLAN);
    let args = [
        "--faults",
        "faults.toml",
        "--json",
        "--journal",
        "run.jsonl",
    ];
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    let run = json(&replay(&args, folder.path()));
    assert_eq!(run["digest"], json(&replay(&args, folder.path()))["digest"]);
    let number = |value: &serde_json::Value| value.as_u64().expect("a count");
    let faults = &run["faults"];
    assert!(number(&faults["crashes"]) > 0 && number(&faults["conductor_restarts"]) > 0);
    assert!(number(&faults["resubmitted"]) > 0, "{faults}");
    let ended = number(&run["completed"]) + number(&run["rejected"]);
    assert_eq!(ended + number(&faults["cancelled"]), 300);
    let said = stdout(&["audit", "run.jsonl"], folder.path());
    assert!(said.contains("steps agree"), "{said}");
    let table = replay(&["--faults", "faults.toml"], folder.path());
    assert!(table.contains("Faults with kvcache-centric: "), "{table}");
    assert!(
        json(&replay(&["--json"], folder.path()))
            .get("faults")
            .is_none()
    );
}

#[test]
fn a_bad_plan_is_refused_with_file_line_and_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    file(
        folder.path(),
        "faults.toml",
        PLAN.replace("node = 1", "node = 4"),
    );
    let output = conductor(
        &["replay", "--cluster", "2p2d", "--faults", "faults.toml"],
        folder.path(),
    );
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr).trim_end(),
        "conductor: faults.toml: line 8: fault 1: `node`: expected a node of the cluster, 0 to 3, found 4"
    );
}

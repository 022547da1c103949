//! Every command that the README shows works, with fewer requests where it would take long.

use crate::common::{conductor, root, stdout};
use std::fs;

/// Commands of the README's code blocks, without their comments.
fn commands() -> Vec<String> {
    let text = fs::read_to_string(root().join("README.md")).expect("there is a README");
    let mut inside = false;
    let mut commands = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if inside {
            let command = line.split(" #").next().unwrap_or("").trim();
            if command.starts_with("conductor ") || command.starts_with("cargo ") {
                commands.push(command.to_string());
            }
        }
    }
    commands
}

#[test]
fn every_command_of_the_readme_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let shown = commands();
    assert!(
        shown
            .iter()
            .any(|command| command == "cargo run --release -- replay"),
        "the main job is shown"
    );
    assert!(
        shown
            .iter()
            .any(|command| command == "cargo test --workspace"),
        "the tests are shown"
    );
    for example in [
        "my-policy.toml",
        "classes.toml",
        "clusters/tiers.toml",
        "clusters/prices.toml",
    ] {
        let path = root().join("examples").join(example);
        let name = path.file_name().expect("a file");
        fs::copy(&path, folder.path().join(name)).expect("the example is there");
    }
    // A file that a command reads is made by the one before it, as a reader would do.
    for command in &shown {
        let words: Vec<&str> = command.split_whitespace().collect();
        let args: Vec<&str> = match words[..] {
            ["conductor", ref args @ ..] => args.to_vec(),
            ["cargo", "run", "--release", "--", ref args @ ..] => args.to_vec(),
            // CI runs these themselves.
            ["cargo", "test", ..] | ["cargo", "install", ..] | ["cargo", "bench", ..] => continue,
            _ => panic!("`{command}` is run neither by this test nor by CI"),
        };
        let real = args
            .iter()
            .any(|word| ["conversation", "synthetic"].contains(word));
        if (real && !cfg!(has_conversation_trace)) || args[0] == "experiment" && args[1] == "run" {
            continue; // Experiments are run by their own package's tests and by CI.
        }
        let mut args = args;
        let whole = args.contains(&"--limit") || args.contains(&"--measure");
        if ["replay", "compare"].contains(&args[0]) && !whole {
            args.extend(["--limit", "200"]);
        }
        let output = conductor(&args, folder.path());
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!output.stdout.is_empty(), "{command} says nothing");
    }
}

/// Each example of a cluster runs, and the README names it.
#[test]
fn example_clusters_run() {
    let readme = fs::read_to_string(root().join("README.md")).expect("it is there");
    let folder = fs::read_dir(root().join("examples/clusters")).expect("it is there");
    let mut seen = 0;
    for entry in folder {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a file").to_string_lossy();
        assert!(
            readme.contains(&format!("(examples/clusters/{name})")),
            "{name}"
        );
        let cluster = path.to_string_lossy();
        let args = [
            "replay",
            "--cluster",
            &cluster,
            "--requests",
            "200",
            "--json",
        ];
        let run: serde_json::Value = serde_json::from_str(&stdout(&args, root())).expect("JSON");
        assert_eq!(run["completed"], 200, "{name}");
        seen += 1;
    }
    assert!(seen >= 4, "{seen}");
}

//! The project's order, as a test: layers stay apart, files stay short, nothing is left lying.

use crate::common::root;
use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this is more than one idea.
const LINES_MAX: usize = 600;
const COLUMNS_MAX: usize = 120;

/// What each layer must not name, with the reason.
const FORBIDDEN: [(&str, &[&str], &str); 6] = [
    (
        "core/src",
        &[
            "std::time",
            "std::fs",
            "std::thread",
            "std::net",
            "std::env",
            "rand::",
            "async fn",
            "Instant::",
            "SystemTime",
        ],
        "the core has no clock, thread, file, socket or global randomness",
    ),
    (
        "sim/src",
        &[
            "conductor_traces",
            "conductor_plots",
            "conductor_runtime",
            "conductor_experiments",
        ],
        "sim simulates",
    ),
    (
        "traces/src",
        &["conductor_sim", "conductor_plots", "conductor_runtime"],
        "traces do not simulate",
    ),
    (
        "plots/src",
        &["conductor_core", "conductor_sim", "conductor_traces"],
        "plots draw what they are given",
    ),
    (
        "experiments/src",
        &["conductor_plots", "plotters"],
        "experiments do not draw",
    ),
    (
        "runtime",
        &["conductor_sim"],
        "the runtime and the simulator do not name each other",
    ),
];

/// Source files below `folder`, in order.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.sort();
    let skip = |path: &Path| {
        path.file_name()
            .is_some_and(|name| name == "target" || name == ".git")
    };
    let into = |path: PathBuf| match path.is_dir() {
        true if skip(&path) => Vec::new(),
        true => sources(&path),
        false if path.extension().is_some_and(|extension| extension == "rs") => vec![path],
        false => Vec::new(),
    };
    paths.into_iter().flat_map(into).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn layers_do_not_name_what_they_must_not_know() {
    for (folder, words, reason) in FORBIDDEN {
        for path in sources(&root().join(folder)) {
            for (number, line) in read(&path).lines().enumerate() {
                let code = line.split("//").next().unwrap_or("");
                let found = words.iter().find(|word| code.contains(*word));
                assert_eq!(found, None, "{}:{}: {reason}", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn the_core_is_no_std_and_depends_on_nothing_that_has_a_world() {
    let lib = read(&root().join("core/src/lib.rs"));
    assert!(lib.contains("#![no_std]") && lib.contains("#![forbid(unsafe_code)]"));
    let manifest = read(&root().join("core/Cargo.toml"));
    let dependencies = manifest
        .split("[dependencies]")
        .nth(1)
        .and_then(|rest| rest.split("\n[").next());
    let names: Vec<&str> = dependencies
        .expect("a list")
        .lines()
        .filter_map(|line| line.split(['.', ' ']).next())
        .filter(|n| !n.is_empty())
        .collect();
    assert_eq!(names, ["serde", "serde_json", "toml"]);
}

#[test]
fn files_are_one_idea_and_say_what_they_are() {
    for path in sources(root()) {
        let (text, name) = (read(&path), path.display());
        let generated = text.starts_with("// @generated");
        assert!(
            generated || text.lines().count() <= LINES_MAX,
            "{name}: more than {LINES_MAX} lines"
        );
        let headed = text.starts_with("//!") || text.starts_with("#!");
        assert!(
            headed,
            "{name}: expected a header that says what the file is and why"
        );
        for (number, line) in text.lines().enumerate() {
            // Code is as wide as rustfmt makes it; comments are ours.
            let comment = line.trim_start().starts_with("//");
            let width = line.chars().count();
            assert!(
                !comment || width <= COLUMNS_MAX,
                "{name}:{}: {width} columns",
                number + 1
            );
            for word in [
                "TO".to_string() + "DO",
                "FIX".to_string() + "ME",
                "XX".to_string() + "X:",
            ] {
                assert!(
                    !line.contains(&word),
                    "{name}:{}: {word} is left",
                    number + 1
                );
            }
        }
    }
}

#[test]
fn every_test_file_is_part_of_the_one_binary() {
    let tests = root().join("tests");
    for path in sources(&tests) {
        let module = path.file_stem().expect("a file").to_string_lossy();
        // A file in a folder is part of the module that has the folder's name.
        let folder = path.parent().expect("a folder");
        if folder.join("Cargo.toml").is_file() {
            continue; // A package of its own.
        }
        let parent = match folder == tests {
            true => tests.join("all.rs"),
            false => folder.with_extension("rs"),
        };
        assert!(
            module == "all" || read(&parent).contains(&format!("mod {module};")),
            "{} is forgotten",
            path.display()
        );
    }
}

#[test]
fn what_the_project_promises_to_have_is_there() {
    for file in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "LICENSE",
        "deny.toml",
        "rust-toolchain.toml",
        ".ci/run",
        "traces/fetch.sh",
        "traces/README.md",
        "fuzz/README.md",
    ] {
        assert!(root().join(file).is_file(), "{file}");
    }
    let changelog = read(&root().join("CHANGELOG.md"));
    assert!(
        changelog.contains(env!("CARGO_PKG_VERSION")),
        "the changelog knows this version"
    );
}

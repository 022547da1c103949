//! `conductord local` as a person starts it: however the cluster is split, the answers are those of one node.

use crate::audit::audit;
use crate::client::metric;
use conductor_runtime::load::{Client, Streamed, Target};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A gateway and its nodes.
struct Local {
    process: Child,
    target: Arc<Target>,
    journal: PathBuf,
}

/// The binary of this package, or where it lies on a machine that did not build it.
fn conductord() -> std::ffi::OsString {
    let elsewhere = std::env::var_os("CONDUCTORD");
    elsewhere.unwrap_or_else(|| env!("CARGO_BIN_EXE_conductord").into())
}

impl Local {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let journal = folder.join("journal.jsonl");
        let mut process = Command::new(conductord())
            .args(["local", "--listen", "127.0.0.1:0", "--quiet", "--journal"])
            .arg(&journal)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary of this package starts");
        let stdout = process.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it says that it is ready");
        let base = line
            .trim()
            .strip_prefix("ready ")
            .expect("ready")
            .to_string();
        let model = "tiny".to_string();
        Self {
            process,
            target: Arc::new(Target {
                base,
                model,
                key: None,
            }),
            journal,
        }
    }

    /// Ends it as a service manager would, and has its journal decided again.
    async fn end(mut self) {
        let executed = metric(&self.target.base, "decisions_executed_total").await;
        let journaled = metric(&self.target.base, "decisions_journaled_total").await;
        let id = self.process.id().to_string();
        let begun = Instant::now();
        let status = Command::new("kill").args(["-TERM", &id]).status();
        assert!(status.expect("kill is there").success());
        let status = self.process.wait().expect("it ends");
        assert!(status.success(), "{status}");
        assert!(begun.elapsed() < Duration::from_secs(10));
        let text = std::fs::read_to_string(&self.journal).expect("a journal");
        audit(text.lines(), executed, journaled);
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn complete(target: Arc<Target>, prompt: String, tokens: u32) -> Streamed {
    let body = json!({
        "model": "tiny", "prompt": prompt, "max_tokens": tokens, "temperature": 0,
        "ignore_eos": true, "stream": true, "stream_options": {"include_usage": true},
    });
    let answer = Client::new().complete(&target, body.to_string()).await;
    answer.expect("a complete answer")
}

/// Prompts that share their beginning.
fn prompts() -> Vec<String> {
    let shared = "The quick brown fox jumps over the lazy dog. ".repeat(6);
    let mut prompts: Vec<String> = (0..4).map(|i| format!("{shared}{i} and then")).collect();
    prompts.push("short".into());
    prompts.push(shared);
    prompts
}

async fn all(target: &Arc<Target>, tokens: u32) -> Vec<(String, u64)> {
    let mut answers = Vec::new();
    for prompt in prompts() {
        let answer = complete(Arc::clone(target), prompt, tokens).await;
        answers.push((answer.text, answer.cached));
    }
    answers
}

/// Needs devices: `tests/rdma-vm/` has some.
#[cfg(feature = "rdma")]
#[tokio::test]
async fn over_rdma_the_answers_are_those_of_one_node() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let said = Command::new(conductord())
        .arg("check")
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("KV can go over verbs://"), "{said}");
    let sent = || -> u64 {
        let devices = std::fs::read_dir("/sys/class/infiniband")
            .into_iter()
            .flatten();
        let counters = devices.flatten().filter_map(|device| {
            let path = device.path().join("ports/1/hw_counters/sent_pkts");
            std::fs::read_to_string(path)
                .ok()?
                .trim()
                .parse::<u64>()
                .ok()
        });
        counters.sum()
    };
    let mut reference = None;
    for arguments in [
        &["--nodes", "1"][..],
        &["--nodes", "1p1d", "--transfer", "verbs"],
    ] {
        let before = sent();
        let local = Local::start(folder.path(), arguments);
        let answers = all(&local.target, 8).await;
        let texts: Vec<String> = answers.into_iter().map(|(text, _)| text).collect();
        assert!(texts.iter().all(|text| !text.is_empty()));
        let Some(reference) = &reference else {
            assert_eq!(sent(), before, "one node sends nothing");
            reference = Some(texts);
            local.end();
            continue;
        };
        assert_eq!(&texts, reference, "{arguments:?}");
        println!(
            "disaggregated: equal tokens, {} packets over RDMA",
            sent() - before
        );
        assert!(sent() > before, "its KV goes over the devices");
        local.end();
    }
}

#[tokio::test]
async fn however_it_is_split_the_answers_are_those_of_one_node() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut reference = Vec::new();
    for arguments in [
        &["--nodes", "1"][..],
        &["--nodes", "2p2d", "--transfer", "shm"],
        &["--nodes", "1p1d", "--transfer", "tcp"],
    ] {
        let local = Local::start(folder.path(), arguments);
        let answers = all(&local.target, 40).await;
        assert!(
            answers.iter().any(|&(_, cached)| cached > 0),
            "prefixes are reused"
        );
        let texts: Vec<String> = answers.into_iter().map(|(text, _)| text).collect();
        assert!(texts.iter().all(|text| !text.is_empty()));
        match reference.is_empty() {
            true => reference = texts,
            false => assert_eq!(texts, reference, "{arguments:?}"),
        }
        local.end().await;
    }
}

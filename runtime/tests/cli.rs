//! The daemon's command line: what is wrong is one line and exit code 2.

use std::path::Path;
use std::process::{Command, Output};

fn conductord(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_conductord"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the binary of this package starts")
}

const NODE: &str = r#"
node = 1
listen = "127.0.0.1:0"
transfer = "tcp://127.0.0.1:0"
cluster = "2p2d"
secret_file = "secret"
[engine]
kind = "sleep"
"#;

const GATEWAY: &str = r#"
listen = "127.0.0.1:0"
cluster = "1p1d"
secret_file = "secret"
[nodes]
list = ["127.0.0.1:1", "127.0.0.1:2"]
"#;

const ENGINES: &str = r#"
listen = "127.0.0.1:0"
cluster = "a800-1"
[[engine]]
url = "http://127.0.0.1:1"
model = "m"
kv_events = "tcp://127.0.0.1:2"
"#;

#[test]
fn a_configuration_is_checked_without_starting_anything() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("a temporary folder can be written");
    };
    write("secret", "0123456789abcdef0123456789abcdef");
    write("node.toml", NODE);
    write("gateway.toml", GATEWAY);
    write("engines.toml", ENGINES);
    for (file, expected) in [
        ("engines.toml", "0 prefill, 0 decode, 1 coupled nodes"),
        ("node.toml", "node 1, prefill, cluster a800-2p2d"),
        ("gateway.toml", "1 prefill, 1 decode, 0 coupled nodes"),
    ] {
        let output = conductord(&["check", "--config", file], folder.path());
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(said.contains(expected), "{said}");
        assert!(said.contains("processor: "), "{said}");
    }
    for (text, expected) in [
        (
            NODE.replace("node = 1", "node = 9"),
            "9 of a cluster of 4 nodes, expected less",
        ),
        (
            "listen = \"127.0.0.1:0\"\ncluster = \"1p1d\"\n[tls]\nca = \"a\"\ncertificate = \"b\"\nkey = \"c\"\n\
             [[engine]]\nurl = \"http://127.0.0.1:1\"\nmodel = \"m\"\n"
                .to_string(),
            "tls: expected nodes",
        ),
        (NODE.replace("listen", "listne"), "unknown field `listne`"),
        (NODE.replace("2p2d", "none.toml"), "none.toml: No such file"),
        (NODE.replace("\"secret\"", "\"nothing\""), "nothing"),
        (
            GATEWAY.replace(", \"127.0.0.1:2\"", ""),
            "1 addresses, expected one for each",
        ),
        (
            GATEWAY.replace("cluster = \"1p1d\"", "cluster = \"1p\""),
            "1p",
        ),
        (
            format!("{GATEWAY}\n[gateway]\nconcurrent_max = 0\n"),
            "concurrent_max",
        ),
        ("node = ".to_string(), "bad.toml"),
        (
            ENGINES.replace("a800-1", "1p1d"),
            "engine 1: engine: 1 engines, expected one for each of the cluster's 2 nodes",
        ),
        (
            ENGINES.replace("http:", "https:"),
            "engine 0: url: \"https://127.0.0.1:1\", expected http://HOST:PORT",
        ),
        (
            ENGINES.replace("tcp://127.0.0.1:2", "tcp://*:2"),
            "engine 0: kv_events: \"tcp://*:2\" and no kv_replay, expected tcp://HOST:PORT",
        ),
        (
            format!("{ENGINES}\n[nodes]\nlist = [\"127.0.0.1:1\"]\n"),
            "expected either nodes or engines",
        ),
        (
            GATEWAY.replace("secret_file = \"secret\"", ""),
            "secret_file: expected the file with the cluster's secret",
        ),
    ] {
        write("bad.toml", &text);
        let output = conductord(&["check", "--config", "bad.toml"], folder.path());
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}: {error}");
        assert!(error.contains(expected), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn bad_usage_is_said_with_what_was_expected() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (arguments, expected) in [
        (&["local", "--nodes", "0p2d"][..], "--nodes: expected NpMd"),
        (&["local", "--policy", "no-such-policy"], "no-such-policy"),
        (
            &[
                "load",
                "--url",
                "http://127.0.0.1:1",
                "--trace",
                "none.jsonl",
            ],
            "none.jsonl",
        ),
        (
            &[
                "load",
                "--url",
                "http://127.0.0.1:1",
                "--trace",
                "x",
                "--speed",
                "0",
            ],
            "--speed",
        ),
        (
            &["calibrate", "--config", "none.toml", "-o", "x.csv"],
            "none.toml",
        ),
        (&["gateway", "--config", "none.toml"], "none.toml"),
        (
            &["record-events", "--events", "tcp://*:5557", "-o", "x.bin"],
            "\"tcp://*:5557\", expected tcp://HOST:PORT",
        ),
        (&["indexer", "--publishers-max", "0"], "--publishers-max"),
    ] {
        let output = conductord(arguments, folder.path());
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn an_engine_is_timed_beside_another_and_so_is_kv_that_moves() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("a temporary folder can be written");
    };
    write("secret", "0123456789abcdef0123456789abcdef");
    write("cpu-tiny.toml", include_str!("../profiles/cpu-tiny.toml"));
    write(
        "cluster.toml",
        "name = \"t\"\nprofile = \"cpu-tiny\"\nblock_tokens = 16\n[[nodes]]\ncount = 2\nrole = \"coupled\"\n\
         cache_tokens = 4096\nhbm_kv_tokens = 4096\n[coupled]\nschedule = \"chunked\"\nprefix_caching = true\n",
    );
    write("node.toml", &NODE.replace("2p2d", "cluster.toml"));
    let small = ["--longest", "64", "--batch", "2", "--rounds", "2"];
    let mut arguments = vec!["calibrate", "--config", "node.toml", "-o", "engine.csv"];
    arguments.extend(small);
    arguments.extend(["--beside", "1"]);
    let output = conductord(&arguments, folder.path());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let data = std::fs::read_to_string(folder.path().join("engine.csv")).expect("it is written");
    assert!(
        data.contains("2 rounds, 1 engines beside\nkind,prompt,"),
        "{data}"
    );
    for kind in ["prefill", "decode", "mixed", "transfer"] {
        let rows = data.lines().filter(|line| line.starts_with(kind));
        assert!(
            rows.clone().all(|row| row.split(',').count() == 9),
            "{data}"
        );
        assert!(rows.count() >= 2, "{kind}: {data}");
    }
}

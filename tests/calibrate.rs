//! Profiles from measurements: the built-in ones come out of the commands that `experiments/CALIBRATION.md` shows, with
//! the errors that it states; and what a person's own file gives.

use crate::common::{conductor, file, root, stdout};
use conductor_core::config::Profile;
use std::fs;
use std::path::Path;

const DOC: &str = "experiments/CALIBRATION.md";

/// The words of a command, with '…' around those that have blanks.
fn words(command: &str) -> Vec<String> {
    let quoted = command.split('\'').enumerate();
    let parts = quoted.flat_map(|(i, part)| match i % 2 {
        0 => part.split_whitespace().map(str::to_string).collect(),
        _ => vec![part.to_string()],
    });
    parts.collect()
}

/// The commands of the document that write built-in profiles, and the name of each profile.
fn commands() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(root().join(DOC)).expect("the document is there");
    let shown = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("conductor "))
        .filter_map(|command| {
            let words = words(command);
            let output = words.last()?.strip_prefix("core/profiles/")?;
            Some((output.strip_suffix(".toml")?.to_string(), words))
        });
    shown.collect()
}

/// Median, p95 and maximum as the document has them, in percent.
fn errors(errors: &serde_json::Value) -> String {
    let percent = |key: &str| {
        let share = errors[key].as_f64().expect("a number");
        format!("{:.1}", share * 100.0)
    };
    ["median", "p95", "max"].map(percent).join(" / ")
}

/// Runs a command of the document with its profile written to `folder`.
fn run(command: &[String], name: &str, folder: &Path, more: &[&str]) -> String {
    let output = folder.join(format!("{name}.toml"));
    let output = output.to_string_lossy();
    let mut args: Vec<&str> = command.iter().map(String::as_str).collect();
    *args.last_mut().expect("it ends with the output") = &output;
    args.extend(more);
    stdout(&args, root())
}

#[cfg_attr(
    not(has_calibration_data),
    ignore = "../shared/calibration is not here: experiments/CALIBRATION.md says where its files are from"
)]
#[test]
fn the_built_in_profiles_come_out_of_their_commands_with_the_stated_errors() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let document = fs::read_to_string(root().join(DOC)).expect("the document is there");
    let shown = commands();
    let named: Vec<&str> = shown.iter().map(|(name, _)| name.as_str()).collect();
    let built_in: Vec<&str> = Profile::built_in_names().collect();
    assert_eq!(named, built_in[1..], "all but the paper's own");
    for (name, command) in &shown {
        let json = run(command, name, folder.path(), &["--json"]);
        let committed = fs::read_to_string(root().join(format!("core/profiles/{name}.toml")));
        let written = fs::read_to_string(folder.path().join(format!("{name}.toml")));
        assert_eq!(
            written.expect("written"),
            committed.expect("committed"),
            "{name}"
        );
        // Each part has a row `| name | part | form | settings | errors of the fit | held-out errors |`.
        let json: serde_json::Value = serde_json::from_str(&json).expect("one document");
        for part in json["parts"].as_array().expect("a list") {
            let row = format!(
                "| {name} | {} | {} | {} | {} | {} |",
                part["what"].as_str().expect("a name"),
                part["form"].as_str().expect("a name"),
                part["settings"],
                errors(&part["fit"]),
                errors(&part["held_out"]),
            );
            assert!(document.contains(&row), "{DOC} has not the row {row}");
        }
    }
}

/// Every point that fits is judged by a fit that has not seen it: once by that on 8 and 32 clients, once by that on the
/// other numbers.
#[cfg_attr(
    not(has_calibration_data),
    ignore = "../shared/calibration is not here: experiments/CALIBRATION.md says where its files are from"
)]
#[test]
fn serving_fits_hold_in_both_directions() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let document = fs::read_to_string(root().join(DOC)).expect("the document is there");
    let fp8 = commands()
        .into_iter()
        .filter(|(name, _)| name.contains("fp8"));
    for (name, command) in fp8 {
        assert!(
            command.iter().any(|word| word == "8,32"),
            "{name} is fitted to 8 and 32 clients"
        );
        for fitted in ["8,32", "4,16,64"] {
            let other = |word: &String| match word.as_str() {
                "8,32" => fitted.to_string(),
                word => word.to_string(),
            };
            let command: Vec<String> = command.iter().map(other).collect();
            let json = run(&command, "x", folder.path(), &["--json"]);
            let json: serde_json::Value = serde_json::from_str(&json).expect("one document");
            let parts = json["parts"].as_array().expect("TPOT and TTFT");
            let row = format!(
                "| {} | {} | {} | {} | {} |",
                name[name.len() - 3..].to_uppercase(),
                fitted.replace(',', ", "),
                parts[0]["held_out"]["points"],
                errors(&parts[0]["held_out"]),
                errors(&parts[1]["held_out"]),
            );
            assert!(document.contains(&row), "{DOC} has not the row {row}");
            for (part, limit) in parts.iter().zip([0.10, 0.20]) {
                let median = part["held_out"]["median"].as_f64().expect("a number");
                assert!(median <= limit, "{name}, {fitted}: {part}");
            }
        }
    }
}

/// Attention over a mixed batch is not the sum of its parts, and by how much is what the document says.
#[cfg_attr(
    not(has_calibration_data),
    ignore = "../shared/calibration is not here: experiments/CALIBRATION.md says where its files are from"
)]
#[test]
fn mixed_attention_is_as_stated() {
    let folder = "../shared/calibration/llmservingsim";
    let grid = fs::read_dir(root().join(folder)).expect("the data is there");
    let grid = grid.map(|entry| entry.expect("readable").path());
    let grid = grid
        .filter(|path| path.to_string_lossy().ends_with("attention.csv.gz"))
        .max()
        .expect("one grid");
    let json = stdout(&["calibrate", &grid.to_string_lossy(), "--json"], root());
    let json: serde_json::Value = serde_json::from_str(&json).expect("one document");
    let document = fs::read_to_string(root().join(DOC)).expect("the document is there");
    let found = &json["mixed_attention"];
    for rule in ["sum", "max", "sum_prefill_heavy", "sum_there", "overlapped"] {
        let row = format!("| {} |", errors(&found[rule]));
        assert!(
            document.contains(&row),
            "{DOC} has no row with {row}, {rule}"
        );
    }
    let overlap = found["overlap"].as_f64().expect("a number");
    assert!((overlap + 0.40).abs() < 0.01, "{overlap}");
}

/// Timings of a machine that is exactly a polynomial: prefill 20 ms, 0.1 ms a token, 1 ns a token squared, 5 ms a hit
/// and 2 us a cached token; decode 15 ms, 0.05 ms a request, 20 ns a KV token; 12 ms shared by what is in one pass.
fn exact() -> String {
    let prefill = |n: f64, p: f64| {
        let hit = if p > 0.0 { 5e-3 } else { 0.0 };
        20e-3 + 1e-4 * (n - p) + 1e-9 * (n * n - p * p) + hit + 2e-6 * p
    };
    let decode = |b: f64, c: f64| 15e-3 + 5e-5 * b + 2e-8 * b * c;
    let mut text = String::from(
        "# gpu: test\n# tp: 2\n# engine: none 1.0\n# date: 2026-11\n# source: made up by a test\n\
         kind,prompt,cached,batch,context,chunk,chunk_cached,seconds\n",
    );
    for n in [512, 2_048, 8_192, 32_768] {
        for p in [0, n / 4, n / 2] {
            let seconds = prefill(f64::from(n), f64::from(p));
            text += &format!("prefill,{n},{p},,,,,{seconds}\n");
        }
    }
    for b in [1, 8, 64] {
        for c in [256, 4_096, 16_384] {
            let seconds = decode(f64::from(b), f64::from(c));
            text += &format!("decode,,,{b},{c},,,{seconds}\n");
            let seconds = prefill(2_048.0, 1_024.0) + decode(f64::from(b), f64::from(c)) - 12e-3;
            text += &format!("mixed,,,{b},{c},1024,1024,{seconds}\n");
        }
    }
    text
}

#[test]
fn the_projects_own_csv_gives_its_coefficients_and_pictures() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    file(path, "timings.csv", exact());
    let args = [
        "calibrate",
        "timings.csv",
        "-o",
        "mine.toml",
        "--plot",
        "fit.svg",
        "--set",
        "layers=40 # a smaller model",
    ];
    let shown = stdout(&args, path);
    for word in [
        "prefill",
        "decode",
        "mixed",
        "held out",
        "median",
        "fit-decode.svg",
    ] {
        assert!(shown.contains(word), "{word} is not in: {shown}");
    }
    for picture in ["fit-prefill.svg", "fit-decode.svg"] {
        let svg = fs::read_to_string(path.join(picture)).expect("drawn");
        assert!(
            svg.starts_with("<svg") && svg.contains("</svg>"),
            "{picture}"
        );
    }
    let text = fs::read_to_string(path.join("mine.toml")).expect("written");
    for line in [
        "name = \"mine\"",
        "source = \"made up by a test\"",
        "engine = \"none 1.0\"",
        "date = \"2026-11\"",
        "# A smaller model.\nlayers = 40",
        "base_s = 0.02\n",
        "token_s = 1.00000e-4",
        "token2_s = 1.00000e-9",
        "hit_base_s = 0.005",
        "cached_token_s = 2.00000e-6",
        "base_s = 0.015\n",
        "request_s = 5.00000e-5",
        "context_token_s = 2.00000e-8",
        "[mixed]\npass_s = 0.012",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    // What was written is a profile like any other.
    let cost = stdout(&["cost", "mine.toml", "--prompt", "8192", "--json"], path);
    assert!(cost.contains("\"seconds\""), "{cost}");
}

#[test]
fn bad_measurements_and_options_are_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    let good = exact();
    file(path, "good.csv", &good);
    let row = good
        .lines()
        .position(|line| line.starts_with("decode"))
        .expect("a row")
        + 1;
    let broken = |name: &str, from: &str, to: &str| {
        file(path, name, good.replacen(from, to, 1));
    };
    broken("kind.csv", "decode,", "decoding,");
    broken("batch.csv", "decode,,,1,256", "decode,,,0,256");
    broken("seconds.csv", "\ndecode,,,1,256,,,", "\ndecode,,,1,256,,,-");
    broken("columns.csv", "kind,", "sort,");
    broken("cached.csv", "prefill,512,0", "prefill,512,512");
    file(
        path,
        "few.csv",
        good.lines().take(9).collect::<Vec<_>>().join("\n"),
    );
    file(path, "empty.csv", "");
    broken("date.csv", "# date: 2026-11\n", "");
    file(
        path,
        "composed.csv",
        "system,backend,version,tp,phase,batch,isl_or_ctx,latency_ms\n\
         a100,vllm,1,4,prefill,1,64,3\nh100,vllm,1,4,prefill,1,64,2\n",
    );
    let at = format!(":{row}");
    let cases: [(&[&str], &[&str]); 16] = [
        (
            &["kind.csv"],
            &[
                "kind.csv",
                &at,
                "`kind`",
                "prefill, decode, mixed, transfer or load",
                "decoding",
            ],
        ),
        (
            &["batch.csv"],
            &["batch.csv", &at, "`batch`", "from 1 to", "\"0\""],
        ),
        (&["seconds.csv"], &[&at, "`seconds`", "a number above 0"]),
        (&["cached.csv"], &["`cached`", "fewer tokens than `prompt`"]),
        (&["columns.csv"], &["columns.csv", "expected a header"]),
        (
            &["few.csv"],
            &["few.csv", "prefill", "at least 4", "found 3"],
        ),
        (&["empty.csv"], &["empty.csv", "no rows"]),
        (&["absent.csv"], &["absent.csv"]),
        (&["date.csv"], &["--date", "found none"]),
        (
            &["composed.csv"],
            &["--gpu", "\"a100\", \"h100\"", "found none"],
        ),
        (
            &["composed.csv", "--gpu", "b200"],
            &["--gpu", "found \"b200\""],
        ),
        (
            &["good.csv", "--base", "b300"],
            &["unknown profile \"b300\""],
        ),
        (&["good.csv", "--set", "layer=3"], &["--set", "layers"]),
        (&["good.csv", "--set", "layers"], &["--set", "KEY=NUMBER"]),
        (&["good.csv", "--set", "layers=0"], &["layers", "found 0"]),
        (
            &["good.csv", "--memory-gb", "10", "--weights-gb", "141"],
            &["--memory-gb", "room for KV", "141"],
        ),
    ];
    for (args, expected) in cases {
        let args = [&["calibrate"], args, &["-o", "x.toml"]].concat();
        let output = conductor(&args, path);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{args:?}: {error}");
        for word in expected {
            assert!(
                error.contains(word),
                "{args:?}: expected {word} in: {error}"
            );
        }
    }
    assert!(
        !path.join("x.toml").exists(),
        "nothing is written on an error"
    );
    let help = stdout(&["calibrate", "--help"], path);
    for word in ["chunk_cached", "least squares", "Examples:"] {
        assert!(help.contains(word), "the help does not teach {word}");
    }
    let output = conductor(&["calibrate", "good.csv"], path);
    assert_eq!(output.status.code(), Some(2), "a profile needs a place");
}

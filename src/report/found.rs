//! The files of one results folder, read back for a report.

use crate::failure::Failure;
use conductor_core::digest::Digest;
use conductor_experiments::Spec;
use conductor_plots::Verdict;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of all resolved files together that a page shows; the rest is in the folder.
const RESOLVED_LINES_MAX: usize = 700;

/// What one experiment has left in its folder.
pub(super) struct Found {
    pub(super) folder: PathBuf,
    pub(super) spec: Spec,
    /// Digest of each run, in order; empty texts for runs without one.
    pub(super) digests: Vec<String>,
    /// Policies and clusters as resolved: name of the file, text.
    pub(super) resolved: Vec<(String, String)>,
    seeds: Vec<u64>,
    build: Option<String>,
    points: Vec<Value>,
    checks: Vec<Value>,
}

impl Found {
    /// Reads a results folder.
    pub(super) fn read(folder: &Path) -> Result<Self, Failure> {
        let own = folder.join("spec.toml").display().to_string();
        let spec = Spec::load(&own).map_err(Failure::input)?;
        let path = folder.join("experiment.json");
        let wrong = |error: String| Failure::Input(format!("{}: {error}", path.display()));
        let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        let json: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let list = |name: &str| {
            let list = json.get(name).and_then(Value::as_array);
            list.cloned().unwrap_or_default()
        };
        let runs = match list("runs") {
            runs if runs.is_empty() => list("pools"),
            runs => runs,
        };
        let mut seeds: Vec<u64> = runs.iter().filter_map(|run| run["seed"].as_u64()).collect();
        seeds.sort_unstable();
        seeds.dedup();
        let digest = |run: &Value| run["digest"].as_str().unwrap_or_default().to_string();
        Ok(Self {
            digests: runs.iter().map(digest).collect(),
            resolved: resolved(&folder.join("resolved"))?,
            seeds,
            build: fs::read_to_string(folder.join("build.txt")).ok(),
            points: list("points"),
            checks: list("checks"),
            folder: folder.to_path_buf(),
            spec,
        })
    }

    /// What was run, in short.
    pub(super) fn facts(&self) -> Vec<(String, String)> {
        let mut facts = vec![("Source", self.spec.source.clone())];
        let (runs, repeats) = (self.spec.run_count(), self.spec.repeats());
        facts.push(match repeats {
            1 => ("Runs", runs.to_string()),
            _ => ("Runs", format!("{runs}, {repeats} seeds each")),
        });
        facts.push(match self.seeds.as_slice() {
            [] => ("Seed", "none".to_string()),
            [only] => ("Seed", only.to_string()),
            [first, .., last] => ("Seeds", format!("{first} to {last}")),
        });
        for (what, is_check) in [
            ("Values within their tolerance", false),
            ("Requirements that hold", true),
        ] {
            let (held, total) = self.held(is_check);
            facts.push((what, format!("{held} of {total}")));
        }
        if let Some(digest) = self.digest() {
            facts.push(("Digest of all runs", digest));
        }
        let build = self.build.as_deref().map_or("not noted", str::trim);
        facts.push(("Run by", build.to_string()));
        let named = facts
            .into_iter()
            .map(|(name, value)| (name.to_string(), value));
        named.collect()
    }

    /// How many requirements, or published values, hold, and of how many that are judged.
    pub(super) fn held(&self, is_check: bool) -> (usize, usize) {
        let rows = if is_check { &self.checks } else { &self.points };
        let judged = rows.iter().filter_map(|row| row["holds"].as_bool());
        (
            judged.clone().filter(|holds| *holds).count(),
            judged.count(),
        )
    }

    /// One digest of all runs' digests, in order: equal where all journals are.
    fn digest(&self) -> Option<String> {
        let mut all = Digest::default();
        for digest in &self.digests {
            let digest = u128::from_str_radix(digest, 16).ok()?;
            all.word((digest >> 64) as u64).word(digest as u64);
        }
        (!self.digests.is_empty()).then(|| all.to_string())
    }

    /// Published values and checks.
    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        let points = self
            .points
            .iter()
            .filter(|point| point["published"].is_number());
        let points = points.map(|point| Verdict {
            name: format!("{}, {}", text(&point["series"]), text(&point["x"])),
            required: tolerance(point),
            ..self.verdict(point)
        });
        let checks = self.checks.iter().map(|check| Verdict {
            name: text(&check["what"]),
            required: required(check),
            ..self.verdict(check)
        });
        points.chain(checks).collect()
    }

    /// What points and checks have in common.
    fn verdict(&self, row: &Value) -> Verdict {
        Verdict {
            experiment: self.spec.name.clone(),
            name: String::new(),
            unit: text(&row["unit"]),
            published: row["published"].as_f64(),
            simulated: row["simulated"].as_f64().unwrap_or(f64::NAN),
            half: row["ci95"].as_f64(),
            required: row["required"].as_str().unwrap_or_default().to_string(),
            holds: row["holds"].as_bool(),
        }
    }
}

/// How far a simulated value may be off, in words; nothing of results that are older than that.
fn tolerance(point: &Value) -> String {
    let tolerance = point["tolerance"].as_f64();
    tolerance.map_or_else(String::new, |share| {
        format!("within {} %", (share * 1e4).round() / 100.0)
    })
}

/// What a check requires, in words.
fn required(check: &Value) -> String {
    if let Some(words) = check["required"].as_str() {
        return words.to_string();
    }
    match (check["low"].as_f64(), check["high"].as_f64()) {
        (Some(low), Some(high)) => format!("{low} to {high}"),
        (Some(low), None) => format!("above {low}"),
        (None, Some(high)) => format!("below {high}"),
        (None, None) => String::new(),
    }
}

/// A text or a number, as text.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The resolved files, as many as fit on a page; without the folder none.
fn resolved(folder: &Path) -> Result<Vec<(String, String)>, Failure> {
    let Ok(entries) = folder.read_dir() else {
        return Ok(Vec::new());
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    let number = |path: &Path| {
        let stem = path.file_stem()?.to_str()?;
        let (kind, number) = stem.rsplit_once('-')?;
        Some((kind.to_string(), number.parse::<u32>().ok()?))
    };
    paths.retain(|path| number(path).is_some());
    // `policy-2` before `policy-10`, and policies first.
    paths.sort_by_key(|path| number(path).map(|(kind, number)| (std::cmp::Reverse(kind), number)));
    let (mut files, mut lines, mut left) = (Vec::new(), 0, 0);
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|error| Failure::file(&path, error))?;
        lines += text.lines().count();
        match lines <= RESOLVED_LINES_MAX {
            true => files.push((
                path.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                text,
            )),
            false => left += 1,
        }
    }
    if left > 0 {
        let text = format!("{left} more files are in the folder resolved/ of these results.\n");
        files.push(("more".to_string(), text));
    }
    Ok(files)
}

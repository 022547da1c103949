//! What tuning found, for people and for programs.

use crate::render;
use conductor_experiments::execute::Done;
use conductor_experiments::prices::Served;
use conductor_experiments::spec::Value;
use conductor_experiments::tune::{self, BATCHES, Gain, Study, Tuned, Verdict};
use conductor_experiments::window::Window;
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;

/// A finished study.
pub(super) struct Shown<'a> {
    pub(super) study: &'a Study<'a>,
    pub(super) tuned: &'a Tuned,
}

impl Shown<'_> {
    /// Where a tuned file is from, in short lines.
    pub(super) fn comments(&self) -> Vec<String> {
        let (study, tuned) = (self.study, self.tuned);
        let mut lines = vec![
            format!(
                "By `conductor tune`: {} tries on {} at speed {}, {}.",
                tuned.tries.len() - 1,
                study.job.workload.name,
                study.job.workload.speed,
                study.job.cluster.name
            ),
            format!(
                "Chosen on the seconds {}, judged on {}, by {}:",
                study.train, study.held_out, study.objective
            ),
        ];
        for (window, gain) in [("training", &tuned.train), ("held out", &tuned.held_out)] {
            lines.push(format!(
                "{window}: {:.4} untouched, {:.4} tuned.",
                gain.baseline, gain.tuned
            ));
        }
        lines.push(self.verdict());
        lines
    }

    /// What a person has to know beside the numbers.
    pub(super) fn warnings(&self) -> Vec<String> {
        let (study, tuned) = (self.study, self.tuned);
        let mut warnings = Vec::new();
        if tuned.is_overfitted() {
            warnings.push(format!(
                "overfitted: {} on the training window, {} on the held-out one",
                percent(&tuned.train),
                percent(&tuned.held_out)
            ));
        }
        if tuned.exhausted && tuned.tries.len() <= study.tries {
            let found = tuned.tries.len() - 1;
            warnings.push(format!("only {found} sets of values were found to try"));
        }
        let cluster = study.params.iter().any(|param| param.knob.is_cluster());
        let profiles = tune::profile_files(&tuned.job);
        if cluster && !profiles.is_empty() {
            warnings.push(format!(
                "the cluster file needs {} beside it",
                profiles.join(", ")
            ));
        }
        warnings
    }

    pub(super) fn text(&self, files: &[PathBuf]) -> String {
        let (study, tuned) = (self.study, self.tuned);
        let best = &tuned.tries[tuned.best];
        let said = |value: &Option<Value>| {
            value
                .as_ref()
                .map_or_else(|| "-".to_string(), Value::to_string)
        };
        let rows = study.params.iter().enumerate().map(|(i, param)| {
            vec![
                param.to_string(),
                said(&tuned.tries[0].values[i]),
                said(&best.values[i]),
            ]
        });
        let params = render::table(&["parameter", "untouched", "best"], rows);
        let row = |name: &str, window: Window, gain: &Gain| {
            vec![
                name.to_string(),
                format!("{window}"),
                format!("{:.4}", gain.baseline),
                format!("{:.4}", gain.tuned),
                match gain.ci95 {
                    Some(ci) => format!("{:+.4} ± {ci:.4}", gain.better_by),
                    None => format!("{:+.4}", gain.better_by),
                },
                percent(gain),
            ]
        };
        let windows = render::table(
            &[
                "window",
                "seconds",
                "untouched",
                "tuned",
                "better by",
                "that is",
            ],
            [
                row("training", study.train, &tuned.train),
                row("held out", study.held_out, &tuned.held_out),
            ],
        );
        let mut text = format!(
            "{} at speed {}, {}, policy {}: {} tries by {} ({} is better).\n\n{params}\n\n{windows}\n{}\nIntervals: 95 %, {}.",
            study.job.workload.name,
            study.job.workload.speed,
            study.job.cluster.name,
            study.job.policy.name,
            tuned.tries.len() - 1,
            study.objective,
            if study.objective.is_minimised() {
                "less"
            } else {
                "more"
            },
            self.verdict(),
            self.method()
        );
        let _ = write!(
            text,
            "\nWithin the limits on the held-out window: {:.3} requests/s untouched, {:.3} tuned.",
            within(&tuned.baseline_runs),
            within(&tuned.tuned_runs)
        );
        if !files.is_empty() {
            let files: Vec<_> = files
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            let _ = write!(text, "\nWritten: {}.", files.join(", "));
        }
        text
    }

    /// What the held-out window says.
    fn verdict(&self) -> String {
        let gain = &self.tuned.held_out;
        if self.tuned.best == 0 {
            return "Nothing that was tried is better than the untouched policy on the training window.".to_string();
        }
        match self.tuned.verdict() {
            Verdict::Better => format!(
                "Held out, the tuned policy is better by {}: more than noise.",
                percent(gain)
            ),
            Verdict::WithinNoise => {
                format!(
                    "Held out, the difference of {} is within noise: no gain is shown.",
                    percent(gain)
                )
            }
            Verdict::Worse => format!(
                "Held out, the tuned policy is worse by {}: more than noise. Keep the untouched one.",
                percent(gain).trim_start_matches('-')
            ),
            Verdict::Unknown => format!(
                "Held out, the difference is {}: too few requests to tell it from noise.",
                percent(gain)
            ),
        }
    }

    fn method(&self) -> String {
        match self.study.seeds {
            1 => format!(
                "Student's over {BATCHES} batches of consecutive requests of the window, paired"
            ),
            seeds => format!("Student's over {seeds} seeds, paired"),
        }
    }

    pub(super) fn json(&self, files: &[PathBuf]) -> serde_json::Value {
        let (study, tuned) = (self.study, self.tuned);
        let window = |window: Window, gain: &Gain| {
            let (from_s, until_s) = window.seconds();
            json!({ "from_s": from_s, "until_s": until_s, "gain": gain })
        };
        let values = |number: usize| -> serde_json::Map<String, serde_json::Value> {
            let pairs = study.params.iter().zip(&tuned.tries[number].values);
            pairs
                .map(|(param, value)| (param.knob.to_string(), json!(value)))
                .collect()
        };
        json!({
            "trace": study.job.workload.name,
            "speed": study.job.workload.speed,
            "cluster": study.job.cluster.name,
            "policy": study.job.policy.name,
            "seed": study.job.seed,
            "seeds": study.seeds,
            "objective": study.objective.to_string(),
            "minimised": study.objective.is_minimised(),
            "params": study.params.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "untouched": values(0),
            "best": values(tuned.best),
            "best_try": tuned.best,
            "train": window(study.train, &tuned.train),
            "held_out": window(study.held_out, &tuned.held_out),
            "method": self.method(),
            "verdict": tuned.verdict(),
            "statement": self.verdict(),
            "overfitted": tuned.is_overfitted(),
            "held_out_within_rps": {
                "untouched": within(&tuned.baseline_runs),
                "tuned": within(&tuned.tuned_runs),
            },
            "tries": tuned.tries,
            "files": files,
        })
    }
}

/// A gain as a share of the untouched policy's.
fn percent(gain: &Gain) -> String {
    match gain.relative {
        Some(relative) => format!("{:+.2} %", relative * 100.0),
        None => format!("{:+.4}", gain.better_by),
    }
}

/// Requests a second within their limits, the mean of runs.
fn within(runs: &[Done]) -> f64 {
    let rps = runs
        .iter()
        .map(|done| Served::of(done).rps() * done.report.effective_ratio);
    rps.sum::<f64>() / runs.len() as f64
}

//! What tuning leaves: every try as CSV, and the winner as files that a replay takes.

use super::{Study, Tuned};
use crate::execute::Job;
use conductor_core::config::{PolicyConfig, Profile};
use std::io;

/// Writes every try: its number, its values, what it gave on the training window, and whether it is the best.
///
/// # Errors
/// If `out` cannot be written to.
pub fn write_tries(study: &Study<'_>, tuned: &Tuned, out: impl io::Write) -> io::Result<()> {
    let mut rows = csv::Writer::from_writer(out);
    let mut header = vec!["try".to_string()];
    header.extend(study.params.iter().map(|param| param.knob.to_string()));
    header.extend([
        format!("train {}", study.objective),
        "best".into(),
        "refused".into(),
    ]);
    rows.write_record(&header)?;
    for tried in &tuned.tries {
        let mut row = vec![tried.number.to_string()];
        let said = |value: &Option<_>| value.as_ref().map_or(String::new(), ToString::to_string);
        row.extend(tried.values.iter().map(said));
        row.push(tried.train.map_or(String::new(), |value| value.to_string()));
        row.push((tried.number == tuned.best).to_string());
        row.push(tried.refused.clone().unwrap_or_default());
        rows.write_record(&row)?;
    }
    rows.flush()
}

/// The policy file of a tuned job: its own name with `-tuned` behind it, below comments that say where it is from.
#[must_use]
pub fn policy_file(job: &Job, comments: &[String]) -> String {
    let mut text = job.policy.to_text();
    text.name = Some(named(&job.policy.name));
    let policy = PolicyConfig::from_text(&text).unwrap_or_else(|_| job.policy.clone());
    format!("{}{}", commented(comments), policy.to_toml())
}

/// The cluster file of a tuned job.
#[must_use]
pub fn cluster_file(job: &Job, comments: &[String]) -> String {
    format!("{}{}", commented(comments), job.cluster.to_toml())
}

/// Profiles of a cluster that are files: they have to lie beside its own.
#[must_use]
pub fn profile_files(job: &Job) -> Vec<String> {
    let texts = job.cluster.profile_texts().into_iter();
    let files = texts.filter(|text| Profile::built_in(&text.name).is_err());
    files.map(|text| format!("{}.toml", text.name)).collect()
}

/// A name is tuned once only, however often it is tuned, and no longer than names may be.
fn named(name: &str) -> String {
    match name.ends_with("-tuned") || name.len() > 58 {
        true => name.to_string(),
        false => format!("{name}-tuned"),
    }
}

fn commented(comments: &[String]) -> String {
    comments.iter().map(|line| format!("# {line}\n")).collect()
}

//! The policies and clusters of an experiment's runs as they were resolved: every parameter, whatever the specification
//! left to defaults. Each is a file that `--policy` or `--cluster` takes.
//!
//! Not here: writing them, and what runs of kind `pool` have, which are no clusters.

use crate::error::ExperimentError;
use crate::plan;
use crate::spec::{RunKind, Spec};
use std::path::Path;

/// A policy or cluster, and which runs have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Its name among the files: `policy-1`, `cluster-1`, and so on.
    pub name: String,
    /// The labels of the runs that have it.
    pub runs: Vec<String>,
    /// Its TOML.
    pub text: String,
}

/// All different policies, then all different clusters; `sought` is what was fitted, if anything was. What is searched
/// for is at its lowest value.
///
/// # Errors
/// If a name, a file or a setting is wrong.
pub fn resolved(
    spec: &Spec,
    sought: Option<f64>,
    root: &Path,
) -> Result<Vec<Resolved>, ExperimentError> {
    let (mut policies, mut clusters) = (Vec::new(), Vec::new());
    if spec.kind == RunKind::Pool {
        return Ok(policies);
    }
    for run in 0..spec.run_count() {
        let lowest = spec.search.as_ref().map(|search| search.ranges[run].low);
        let (cluster, policy) = plan::setup(spec, run, sought.or(lowest), root)?;
        let label = spec.label(run);
        add(&mut policies, "policy", policy.to_toml(), label.clone());
        add(&mut clusters, "cluster", cluster.to_toml(), label);
    }
    policies.extend(clusters);
    Ok(policies)
}

fn add(known: &mut Vec<Resolved>, kind: &str, text: String, run: String) {
    match known.iter_mut().find(|one| one.text == text) {
        Some(one) => one.runs.push(run),
        None => known.push(Resolved {
            name: format!("{kind}-{}", known.len() + 1),
            runs: vec![run],
            text,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conductor_core::config::PolicyConfig;

    #[test]
    fn each_policy_and_each_cluster_is_there_once() {
        let spec = Spec::builtin("decode-threshold").expect("built in");
        let all = resolved(&spec, None, Path::new(".")).expect("sound");
        let policies = all.iter().filter(|one| one.name.starts_with("policy"));
        let mut texts: Vec<&str> = policies.map(|one| one.text.as_str()).collect();
        // A threshold means nothing to a policy without admission, else each pair is a policy of its own.
        assert!(texts.len() > 7, "{}", texts.len());
        for text in &texts {
            PolicyConfig::parse(text).expect("a policy file");
        }
        texts.sort_unstable();
        texts.dedup();
        let runs: usize = all
            .iter()
            .filter(|one| one.name.starts_with("cluster"))
            .map(|one| one.runs.len())
            .sum();
        assert_eq!((runs, all.len() - texts.len()), (spec.run_count(), 1));
    }
}

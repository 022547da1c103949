//! From settings to jobs: what each run of an experiment is made of.
//!
//! A setting below `cluster.`, `profile.` or `policy.` is a value in that part's own text form, put there and parsed
//! again by that part's own parser: whatever a file can say, an experiment can vary, and nothing is checked twice. A
//! cluster is parsed when all of its settings are there: an SSD needs two of them, compression three.

use crate::error::ExperimentError;
use crate::execute::Job;
use crate::inputs::{self, Source, WorkloadInput};
use crate::nearest::hint;
use crate::pool::PoolJob;
use crate::single;
use crate::spec::{Part, Setting, Spec, SpecError, Value, in_plain_words};
use conductor_core::config::{ClusterConfig, ClusterText, ConfigError, PolicyConfig, ProfileText};
use conductor_core::cost::PROMPT_MAX;
use conductor_core::units::{Nanos, Tokens};
use conductor_sim::{FaultPlan, RetryConfig};
use conductor_traces::cache::{Capacity, ParseChoiceError, Policy, SubBlock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::num::NonZeroU32;
use std::path::Path;

/// The seed where nothing sets one: that of the command line.
const SEED: u64 = 1;

/// What a workload's settings may be.
const WORKLOAD_KEYS: [&str; 14] = [
    "name",
    "cached",
    "classes",
    "concurrency",
    "duration_s",
    "limit",
    "measure",
    "output_tokens",
    "prompt_tokens",
    "rate",
    "requests",
    "retry",
    "seed",
    "speed",
];

/// The job of run number `run` with the seed numbered `seed` from 1, if the runs are repeated with several.
/// `sought` is the value of what is fitted or searched for, if anything is.
///
/// # Errors
/// If a name, a file or a setting is wrong.
pub(crate) fn job(
    spec: &Spec,
    run: usize,
    seed: Option<u64>,
    sought: Option<f64>,
    root: &Path,
) -> Result<Job, ExperimentError> {
    let parts = parts(spec, run, sought, root);
    let cluster = parts.cluster()?;
    let seed = parts.seed(seed)?;
    Ok(Job {
        workload: parts.workload(cluster.block, seed)?,
        policy: parts.policy()?,
        cluster,
        faults: FaultPlan::default(),
        seed,
        node_samples: false,
        records: false,
    })
}

/// The cluster and the policy of a run, whatever its requests are.
///
/// # Errors
/// If a name, a file or a setting is wrong.
pub(crate) fn setup(
    spec: &Spec,
    run: usize,
    sought: Option<f64>,
    root: &Path,
) -> Result<(ClusterConfig, PolicyConfig), ExperimentError> {
    let parts = parts(spec, run, sought, root);
    Ok((parts.cluster()?, parts.policy()?))
}

/// The job of a run of kind `pool`. The block is the one that trace ids stand for.
///
/// # Errors
/// If a name, a file or a setting is wrong.
pub(crate) fn pool_job(
    spec: &Spec,
    run: usize,
    seed: Option<u64>,
    root: &Path,
) -> Result<PoolJob, ExperimentError> {
    let parts = parts(spec, run, None, root);
    let block = ClusterConfig::built_in(inputs::DEFAULT_CLUSTER)
        .expect("built in")
        .block;
    let mut job = PoolJob {
        workload: parts.workload(block, parts.seed(seed)?)?,
        policy: Policy::Lru,
        capacity: Capacity::Infinite,
        sub_block: None,
    };
    for setting in parts.of(Part::Pool) {
        let refused = |error: ParseChoiceError| wrong(setting, error);
        let text = setting.value.to_string();
        match (&setting.key.path[..], &setting.value) {
            ([key], _) if key == "capacity_tokens" => {
                job.capacity = text.parse().map_err(refused)?
            }
            ([key], _) if key == "policy" => job.policy = text.parse().map_err(refused)?,
            ([key], Value::Flag(on)) if key == "sub_block" => {
                job.sub_block = on.then_some(SubBlock::FAST25);
            }
            _ => {
                let expected = "expected capacity_tokens, policy, or sub_block (true or false)";
                return Err(wrong(setting, expected).into());
            }
        }
    }
    Ok(job)
}

/// The settings of one run.
fn parts<'a>(spec: &Spec, run: usize, sought: Option<f64>, root: &'a Path) -> Parts<'a> {
    let mut settings = spec.base.clone();
    let fit = spec.fit.as_ref().map(|fit| &fit.key);
    let search = spec.search.as_ref().map(|search| &search.key);
    if let (Some(key), Some(value)) = (fit.or(search), sought) {
        settings.push(Setting {
            key: key.clone(),
            value: Value::Number(value),
            line: 1,
        });
    }
    settings.extend(spec.settings_of(run).cloned());
    Parts { settings, root }
}

/// The settings of one run, in order; of two with the same key the later one counts.
struct Parts<'a> {
    settings: Vec<Setting>,
    root: &'a Path,
}

impl Parts<'_> {
    /// The setting that chooses a part as a whole.
    fn chosen(&self, part: Part) -> Option<&Setting> {
        let mut settings = self.settings.iter().rev();
        settings.find(|setting| setting.key.part == part && setting.key.path.is_empty())
    }

    /// The seed: that of a repetition, the one that is set, or the usual one.
    fn seed(&self, repetition: Option<u64>) -> Result<u64, SpecError> {
        match (repetition, self.chosen(Part::Seed)) {
            (Some(seed), _) => Ok(seed),
            (None, Some(setting)) => whole(setting),
            (None, None) => Ok(SEED),
        }
    }

    fn name(&self, part: Part) -> Result<String, SpecError> {
        let setting = self.chosen(part).expect("parsing made sure of it");
        match &setting.value {
            Value::Text(name) => Ok(name.clone()),
            other => Err(wrong(
                setting,
                format!("expected a name or a file, found {other}"),
            )),
        }
    }

    /// The settings below a part.
    fn of(&self, part: Part) -> impl Iterator<Item = &Setting> {
        self.settings
            .iter()
            .filter(move |setting| setting.key.part == part && !setting.key.path.is_empty())
    }

    fn workload(&self, block: Tokens, seed: u64) -> Result<WorkloadInput, ExperimentError> {
        let name = self.name(Part::Workload)?;
        let mut workload = if name == single::NAME {
            WorkloadInput::single()
        } else if inputs::is_workload(&name) {
            WorkloadInput::workload(&name)?
        } else {
            WorkloadInput::trace(&name, self.root)?
        };
        (workload.block, workload.seed) = (block, seed);
        set_workload(&mut workload, self.of(Part::Workload))?;
        Ok(workload)
    }

    fn cluster(&self) -> Result<ClusterConfig, ExperimentError> {
        let cluster = inputs::cluster(&self.name(Part::Cluster)?, None)?;
        set_cluster(cluster, self.of(Part::Profile), self.of(Part::Cluster))
    }

    fn policy(&self) -> Result<PolicyConfig, ExperimentError> {
        let policy = inputs::policy(&self.name(Part::Policy)?)?;
        set_policy(policy, self.of(Part::Policy)).map_err(ExperimentError::from)
    }
}

/// Puts settings into a workload.
///
/// # Errors
/// If one is wrong.
pub(crate) fn set_workload<'a>(
    workload: &mut WorkloadInput,
    settings: impl Iterator<Item = &'a Setting>,
) -> Result<(), ExperimentError> {
    let mut retry = workload.retry.to_text();
    for setting in settings {
        let path: Vec<_> = setting.key.path.iter().map(String::as_str).collect();
        match path[..] {
            ["concurrency"] => {
                let clients = u32::try_from(whole(setting)?)
                    .ok()
                    .and_then(NonZeroU32::new);
                let expected = "expected a whole number of clients from 1 to 4294967295";
                workload.concurrency = Some(clients.ok_or_else(|| wrong(setting, expected))?);
            }
            ["duration_s"] => {
                workload.duration = Some(Nanos::from_secs(whole(setting)?));
            }
            ["limit"] => workload.limit = Some(whole(setting)?),
            ["output_tokens"] => {
                let output = Tokens(whole(setting)?.max(1));
                workload.output = Some(output);
                if let Source::Single(single) = &mut workload.source {
                    single.output = output;
                }
            }
            ["cached" | "prompt_tokens"] => single_setting(workload, setting)?,
            ["measure"] => {
                let window = setting.value.to_string().parse();
                workload.measure = window.map_err(|message: String| wrong(setting, message))?;
            }
            ["rate"] => workload.rate = Some(number(setting)?),
            ["retry"] => {
                let expected = "expected a table, as in retry = { tries = 3 }";
                return Err(wrong(setting, expected).into());
            }
            ["retry", ..] => {
                retry = patch_below(&retry, &setting.key.path[1..], setting)?;
                workload.retry = RetryConfig::from_text(&retry).map_err(|error| {
                    let (expected, found) = (error.expected, error.found);
                    wrong(setting, format!("expected {expected}, found {found}"))
                })?;
            }
            ["classes", class] => workload.classes.set(class, number(setting)?)?,
            ["requests"] => workload.requests = Some(whole(setting)?),
            ["seed"] => workload.seed = whole(setting)?,
            ["speed"] => workload.speed = number(setting)?,
            _ => {
                let hint = hint(path.first().unwrap_or(&""), WORKLOAD_KEYS);
                let known = WORKLOAD_KEYS.join(", ");
                let message = format!("unknown key{hint}, expected one of: {known}");
                return Err(wrong(setting, message).into());
            }
        }
    }
    workload.check()?;
    Ok(())
}

/// A cluster with settings of its profiles and its own put in.
///
/// # Errors
/// If one is wrong.
pub(crate) fn set_cluster<'a>(
    mut cluster: ClusterConfig,
    profile_settings: impl Iterator<Item = &'a Setting>,
    settings: impl Iterator<Item = &'a Setting>,
) -> Result<ClusterConfig, ExperimentError> {
    // As in their files: those of a cluster that compresses are of compressed KV.
    let mut profiles = cluster.profile_texts();
    for setting in profile_settings {
        for profile in &mut profiles {
            *profile = patch(profile, setting)?;
            inputs::profile_of(profile).map_err(|error| refused(setting, &error))?;
        }
        cluster = clustered(cluster.text().clone(), &profiles)
            .map_err(|error| refused(setting, &error))?;
    }
    let mut text = toml::Value::try_from(cluster.text()).expect("text forms are TOML");
    // What is wrong with one setting alone may be right with those behind it; what is wrong with all of them is the
    // fault of the first with which it was.
    let mut fault = None;
    for setting in settings {
        let value = toml::Value::try_from(&setting.value).expect("a plain value");
        put(&mut text, &setting.key.path, &value).map_err(|message| wrong(setting, message))?;
        let parsed: Result<ClusterText, _> = text.clone().try_into();
        let parsed = parsed.map_err(|error: toml::de::Error| misfit(setting, &error));
        let found = parsed
            .and_then(|text| clustered(text, &profiles).map_err(|error| refused(setting, &error)));
        match found {
            Ok(found) => (cluster, fault) = (found, None),
            Err(error) => {
                let same = |fault: &SpecError| fault.message == error.message;
                fault = fault.filter(same).or(Some(error));
            }
        }
    }
    fault.map_or(Ok(cluster), |error| Err(error.into()))
}

/// A policy with settings put in.
///
/// # Errors
/// If one is wrong.
pub(crate) fn set_policy<'a>(
    mut policy: PolicyConfig,
    settings: impl Iterator<Item = &'a Setting>,
) -> Result<PolicyConfig, SpecError> {
    for setting in settings {
        let text = patch(&policy.to_text(), setting)?;
        policy = PolicyConfig::from_text(&text).map_err(|error| refused(setting, &error))?;
    }
    Ok(policy)
}

/// A cluster of these profiles.
fn clustered(text: ClusterText, profiles: &[ProfileText]) -> Result<ClusterConfig, ConfigError> {
    let profiles = profiles
        .iter()
        .map(inputs::profile_of)
        .collect::<Result<Vec<_>, _>>()?;
    ClusterConfig::from_text(text, &profiles)
}

/// What only a single request has.
fn single_setting(workload: &mut WorkloadInput, setting: &Setting) -> Result<(), SpecError> {
    let Source::Single(single) = &mut workload.source else {
        let message = format!("only the workload \"{}\" has it", single::NAME);
        return Err(wrong(setting, message));
    };
    if setting.key.path == ["cached"] {
        single.cached = number(setting)?;
        if !(0.0..1.0).contains(&single.cached) {
            return Err(wrong(setting, "expected a share from 0, below 1"));
        }
    } else {
        single.prompt = Tokens(whole(setting)?.clamp(1, PROMPT_MAX.0));
    }
    Ok(())
}

/// A text form with one value put in, at the setting's own path.
fn patch<T: Serialize + DeserializeOwned>(text: &T, setting: &Setting) -> Result<T, SpecError> {
    patch_below(text, &setting.key.path, setting)
}

/// A text form with the setting's value put in at `path`.
fn patch_below<T: Serialize + DeserializeOwned>(
    text: &T,
    path: &[String],
    setting: &Setting,
) -> Result<T, SpecError> {
    let mut table = toml::Value::try_from(text).expect("text forms are TOML");
    let value = toml::Value::try_from(&setting.value).expect("a plain value");
    put(&mut table, path, &value).map_err(|message| wrong(setting, message))?;
    table
        .try_into()
        .map_err(|error: toml::de::Error| misfit(setting, &error))
}

/// Puts a value at a path; in a list, in each element, or in those whose `role` is the path's next part.
fn put(place: &mut toml::Value, path: &[String], value: &toml::Value) -> Result<(), String> {
    match (place, path) {
        (place, []) => *place = value.clone(),
        (toml::Value::Array(elements), [role, rest @ ..])
            if elements.iter().any(|e| has_role(e, role)) =>
        {
            for element in elements
                .iter_mut()
                .filter(|element| has_role(element, role))
            {
                put(element, rest, value)?;
            }
        }
        (toml::Value::Array(elements), path) => {
            for element in elements {
                put(element, path, value)?;
            }
        }
        (toml::Value::Table(table), [key, rest @ ..]) => {
            // What is absent may be an optional key; the part's own parser knows.
            let empty = toml::Value::Table(toml::Table::new());
            put(table.entry(key.clone()).or_insert(empty), rest, value)?;
        }
        (_, [key, ..]) => return Err(format!("there is nothing below which \"{key}\" could be")),
    }
    Ok(())
}

fn has_role(element: &toml::Value, role: &str) -> bool {
    element.get("role").and_then(toml::Value::as_str) == Some(role)
}

fn wrong(setting: &Setting, message: impl std::fmt::Display) -> SpecError {
    SpecError::new(setting.line, &setting.key.to_string(), message)
}

/// A value that its part's text form has no place for.
fn misfit(setting: &Setting, error: &toml::de::Error) -> SpecError {
    let found = match &setting.value {
        Value::Text(text) => format!("\"{text}\""),
        other => other.to_string(),
    };
    wrong(setting, in_plain_words(error.message(), &found))
}

fn refused(setting: &Setting, error: &ConfigError) -> SpecError {
    wrong(setting, &error.message)
}

fn whole(setting: &Setting) -> Result<u64, SpecError> {
    match setting.value {
        Value::Whole(value) if value >= 0 => Ok(value.unsigned_abs()),
        ref other => Err(wrong(
            setting,
            format!("expected a whole number, found {other}"),
        )),
    }
}

fn number(setting: &Setting) -> Result<f64, SpecError> {
    let found = || {
        wrong(
            setting,
            format!("expected a number, found {}", setting.value),
        )
    };
    setting.value.number().ok_or_else(found)
}

//! Ranges of a workload's values: what serde cannot know.
//!
//! Why a file of its own: a generator may then rely on every table and probability without asking again.

use super::spec::{Kind, Next, Start, Template, Turn, Turns, Workload, WorkloadError};
use super::table::Table;
use crate::formats::MAX_TOKENS;

const LONGEST: f64 = MAX_TOKENS as f64;

pub(super) fn check(workload: &Workload) -> Result<(), WorkloadError> {
    let within = |key: &str, value: f64, low: f64, high: f64, expected| {
        ensure(value >= low && value <= high, key, expected, || {
            value.to_string()
        })
    };
    within(
        "rate",
        workload.rate,
        1e-9,
        1e9,
        "requests per second from 1e-9 to 1e9",
    )?;
    ensure(
        (1..=1 << 20).contains(&workload.block_tokens),
        "block_tokens",
        "1 to 1048576 tokens",
        || workload.block_tokens.to_string(),
    )?;
    if let Some(output) = workload.output_tokens {
        ensure(
            (1..=MAX_TOKENS).contains(&output),
            "output_tokens",
            "1 to 16777216 tokens",
            || output.to_string(),
        )?;
    }
    within(
        "arrivals.grid_s",
        workload.arrivals.grid_s,
        0.0,
        1e6,
        "seconds from 0 to 1e6",
    )?;
    within(
        "arrivals.warmup_s",
        workload.arrivals.warmup_s,
        0.0,
        1e6,
        "seconds from 0 to 1e6",
    )?;
    if let Some(curve) = &workload.arrivals.diurnal {
        let points = &curve.points;
        let valid = points.iter().all(|point| (0.0..=1e9).contains(point));
        ensure(
            (1..=1440).contains(&points.len()) && valid && points.iter().sum::<f64>() > 1e-9,
            "arrivals.diurnal.points",
            "1 to 1440 numbers from 0 to 1e9, not all 0",
            || format!("{points:?}"),
        )?;
        within(
            "arrivals.diurnal.period_s",
            curve.period_s,
            1.0,
            1e7,
            "seconds from 1 to 1e7",
        )?;
    }
    if let Some(surge) = workload.arrivals.surge {
        within(
            "arrivals.surge.deviation",
            surge.deviation,
            0.0,
            0.5,
            "a share from 0 to 0.5",
        )?;
        within(
            "arrivals.surge.persistence_s",
            surge.persistence_s,
            0.01,
            1e6,
            "seconds from 0.01 to 1e6",
        )?;
    }
    one_or_many(workload)?;
    if let Some(start) = &workload.start {
        let (templates, turns) = (&workload.templates, workload.turns.as_ref());
        sessions("", workload.block_tokens, templates, start, turns)?;
    }
    for (place, population) in workload.populations.iter().enumerate() {
        let within = format!("populations[{place}].");
        let weight = population.weight;
        ensure(
            weight > 0.0 && weight <= 1e9,
            &format!("{within}weight"),
            "a weight above 0",
            || weight.to_string(),
        )?;
        sessions(
            &within,
            workload.block_tokens,
            &population.templates,
            &population.start,
            population.turns.as_ref(),
        )?;
    }
    Ok(())
}

/// A workload is one population, or says which.
fn one_or_many(workload: &Workload) -> Result<(), WorkloadError> {
    let number = workload.populations.len();
    ensure(
        number <= 1000,
        "populations",
        "at most 1000 populations",
        || number.to_string(),
    )?;
    if number == 0 {
        return ensure(
            workload.start.is_some(),
            "start",
            "a table `start`, or `populations`",
            || "neither".to_owned(),
        );
    }
    for (key, present) in [
        ("start", workload.start.is_some()),
        ("turns", workload.turns.is_some()),
        ("templates", !workload.templates.is_empty()),
    ] {
        ensure(
            !present,
            key,
            "none beside `populations`, each of which has its own",
            || "one".to_owned(),
        )?;
    }
    Ok(())
}

/// The sessions of one population, whose keys begin with `within`.
fn sessions(
    within: &str,
    block_tokens: u64,
    templates: &[Template],
    start: &Start,
    turns: Option<&Turns>,
) -> Result<(), WorkloadError> {
    check_templates(within, block_tokens, templates)?;
    check_start(within, start, turns.is_some())?;
    turns.map_or(Ok(()), |turns| check_turns(within, turns))
}

fn check_templates(
    within: &str,
    block_tokens: u64,
    templates: &[Template],
) -> Result<(), WorkloadError> {
    for (place, template) in templates.iter().enumerate() {
        let key = |field: &str| format!("{within}templates[{place}].{field}");
        let longest = (MAX_TOKENS / block_tokens).min(1 << 16);
        ensure(
            (1..=longest).contains(&u64::from(template.blocks)),
            &key("blocks"),
            "1 to 65536 blocks",
            || template.blocks.to_string(),
        )?;
        let weight = template.weight;
        ensure(
            weight > 0.0 && weight <= 1e9,
            &key("weight"),
            "a weight above 0",
            || weight.to_string(),
        )?;
        if let Some(base) = template.extends {
            let fits = templates[..place]
                .get(base)
                .is_some_and(|base| base.blocks < template.blocks);
            ensure(
                fits,
                &key("extends"),
                "the place of an earlier, shorter template",
                || base.to_string(),
            )?;
        }
    }
    Ok(())
}

fn check_start(within: &str, start: &Start, has_turns: bool) -> Result<(), WorkloadError> {
    let key = |field: &str| format!("{within}start.{field}");
    table(&key("input"), &start.input, 1.0, LONGEST)?;
    table(&key("output"), &start.output, 1.0, LONGEST)?;
    let fits = start.classes.is_empty() != has_turns;
    ensure(
        fits,
        &key("classes"),
        "at least one class where there is `turns`, else none",
        || format!("{} classes", start.classes.len()),
    )?;
    let ascending = start.classes.is_sorted_by(|a, b| a.below < b.below);
    ensure(ascending, &key("classes"), "ascending `below`", || {
        "another order".to_owned()
    })?;
    for (place, class) in start.classes.iter().enumerate() {
        let key = key(&format!("classes[{place}]"));
        probability(&format!("{key}.continues"), class.continues)?;
        next(&format!("{key}.next"), &class.next)?;
    }
    Ok(())
}

fn check_turns(within: &str, turns: &Turns) -> Result<(), WorkloadError> {
    let key = |field: &str| format!("{within}turns.{field}");
    ensure(
        (1..=MAX_TOKENS).contains(&turns.max_input),
        &key("max_input"),
        "1 to 16777216 tokens",
        || turns.max_input.to_string(),
    )?;
    let likeness = turns.likeness;
    for (field, value) in [
        ("output", likeness.output),
        ("gap", likeness.gap),
        ("tokens", likeness.tokens),
    ] {
        let key = key(&format!("likeness.{field}"));
        ensure(
            (0.0..1.0).contains(&value),
            &key,
            "a correlation from 0 to below 1",
            || value.to_string(),
        )?;
    }
    for (name, kind) in ["reply", "attach", "rewrite", "retry"]
        .into_iter()
        .zip(Kind::ALL)
    {
        check_turn(&key(name), turns.of(kind), kind)?;
    }
    let ascending = turns.paces.is_sorted_by(|a, b| a.below < b.below);
    ensure(ascending, &key("paces"), "ascending `below`", || {
        "another order".to_owned()
    })?;
    for (place, pace) in turns.paces.iter().enumerate() {
        let key = key(&format!("paces[{place}].factor"));
        let within = pace.factor > 0.0 && pace.factor <= 1000.0;
        ensure(within, &key, "a factor above 0, at most 1000", || {
            pace.factor.to_string()
        })?;
    }
    table(&key("kept.share"), &turns.kept.share, 0.0, 1.0)?;
    table(&key("kept.growth"), &turns.kept.growth, -LONGEST, LONGEST)
}

fn check_turn(key: &str, turn: &Turn, kind: Kind) -> Result<(), WorkloadError> {
    table(&format!("{key}.gap_s"), &turn.gap_s, 0.0, 1e6)?;
    let least = if kind == Kind::Rewrite { 1.0 } else { -LONGEST };
    table(&format!("{key}.tokens"), &turn.tokens, least, LONGEST)?;
    table(&format!("{key}.output"), &turn.output, 1.0, LONGEST)?;
    let count = turn.continues.len();
    ensure(
        count > 0,
        &format!("{key}.continues"),
        "at least one probability",
        || "none".to_owned(),
    )?;
    for value in &turn.continues {
        probability(&format!("{key}.continues"), *value)?;
    }
    next(&format!("{key}.next"), &turn.next)
}

fn table(key: &str, table: &Table, low: f64, high: f64) -> Result<(), WorkloadError> {
    if let Some(expected) = table.fault() {
        return ensure(false, key, expected, || format!("{table:?}"));
    }
    ensure(
        table.least() >= low && table.greatest() <= high,
        key,
        "quantiles within the range of the quantity",
        || format!("{} to {}", table.least(), table.greatest()),
    )
}

/// A session must end: with probability one a further turn would follow for ever.
fn probability(key: &str, value: f64) -> Result<(), WorkloadError> {
    ensure(
        (0.0..=0.999).contains(&value),
        key,
        "a probability from 0 to 0.999",
        || value.to_string(),
    )
}

fn next(key: &str, next: &Next) -> Result<(), WorkloadError> {
    let weights = next.weights();
    let valid = weights.iter().all(|weight| (0.0..=1e9).contains(weight))
        && weights.iter().sum::<f64>() > 0.0;
    ensure(
        valid,
        key,
        "weights of 0 or more, one of them above 0",
        || format!("{weights:?}"),
    )
}

fn ensure(
    holds: bool,
    key: &str,
    expected: &'static str,
    found: impl FnOnce() -> String,
) -> Result<(), WorkloadError> {
    if holds {
        Ok(())
    } else {
        Err(WorkloadError::Value {
            key: key.to_owned(),
            expected,
            found: found(),
        })
    }
}

//! Fits prefill, decode and mixed batches, and chooses their forms.
//!
//! Not here: the forms themselves (`forms`), and what is fitted to a service as a whole (`serving`).

use super::constants::Constants;
use super::data::{Data, Point, Work};
use super::forms::{Form, Half, Timings, cached_cost, polynomial_held_out, table_held_out};
use super::grid::Grid;
use super::outcome::{Curve, Fitted, Other, Part, Picture};
use super::{CalibrateError, Errors, Options};
use conductor_core::config::{CostText, MixedText};
use std::collections::BTreeSet;
use std::path::Path;

/// Fewer settings than coefficients fit anything.
pub(super) const SETTINGS_MIN: usize = 4;

/// Fits timings of work.
pub(super) fn fit(
    path: &Path,
    data: &Data,
    options: &Options,
    constants: &Constants,
) -> Result<Fitted, CalibrateError> {
    let settings = data.settings();
    let of = |half: Half| -> Vec<(Work, f64)> {
        let own = |point: &&Point| match point.work {
            Work::Prefill { .. } => half == Half::Prefill,
            Work::Decode { .. } => half == Half::Decode,
            Work::Mixed { .. } | Work::Move { .. } => false,
        };
        let points = settings.iter().filter(own);
        points.map(|point| (point.work, point.seconds)).collect()
    };
    let (prefills, decodes) = (of(Half::Prefill), of(Half::Decode));
    let (prefill, prefill_part) = choose(path, "prefill", &prefills, options)?;
    let (decode, decode_part) = choose(path, "decode", &decodes, options)?;
    let mut notes = Vec::new();
    let hits = prefills
        .iter()
        .any(|(work, _)| matches!(work, Work::Prefill { cached: 1.., .. }));
    let (prefill_text, note) = prefill_cost(&prefill, hits, constants);
    notes.extend(note.map(|note| ("prefill", note)));
    let decode_text = decode_cost(path, &decode)?;

    let mut parts = vec![prefill_part, decode_part];
    let mixed = mixed(&settings, &prefill, &decode);
    let mixed = mixed.map(|(pass_s, part)| {
        parts.push(part);
        MixedText { pass_s }
    });
    Ok(Fitted {
        pictures: vec![
            picture(Half::Prefill, &prefill, &prefills),
            picture(Half::Decode, &decode, &decodes),
        ],
        prefill: prefill_text,
        decode: decode_text,
        mixed,
        constants: constants.clone(),
        parts,
        notes,
        left_out: Vec::new(),
    })
}

/// The form of one half: a polynomial unless it is not good enough and a table is better in both respects.
fn choose(
    path: &Path,
    what: &'static str,
    timings: &Timings,
    options: &Options,
) -> Result<(Form, Part), CalibrateError> {
    let too_few = || CalibrateError::TooFew {
        path: path.to_path_buf(),
        what,
        least: SETTINGS_MIN,
        found: timings.len(),
    };
    if timings.len() < SETTINGS_MIN {
        return Err(too_few());
    }
    let polynomial = Form::polynomial(timings).ok_or_else(too_few)?;
    let held_out = polynomial_held_out(timings);
    let table = Form::table(timings).zip(table_held_out(timings));
    let limits = options.limits;
    let poor = held_out.median > limits.median || held_out.p95 > limits.p95;
    let better =
        |table: &Errors| table.median < held_out.median && table.p95 < held_out.p95 && poor;
    let polynomial_how = "each setting left out in turn";
    let table_how = "each row and each column of the table left out in turn";
    let (form, held_out, how, other) = match table {
        Some((table, errors)) if better(&errors) => {
            let other = Other {
                form: "polynomial",
                held_out,
            };
            (table, errors, table_how, Some(other))
        }
        other => {
            let other = other.map(|(form, held_out)| Other {
                form: form.name(),
                held_out,
            });
            (polynomial, held_out, polynomial_how, other)
        }
    };
    let part = Part {
        what,
        form: form.name(),
        settings: timings.len(),
        fit: form.errors(timings),
        held_out,
        how: how.to_string(),
        other,
    };
    Ok((form, part))
}

/// [prefill], and what a reader should know of it.
fn prefill_cost(form: &Form, hits: bool, constants: &Constants) -> (CostText, Option<String>) {
    let hit = (constants.get("hit_base_s"), constants.get("cached_token_s"));
    let assumed = |what: &str| {
        let reason = |key: &str| {
            let constant = constants.0.iter().find(|constant| constant.key == key);
            constant.map_or_else(String::new, |constant| constant.reason.clone())
        };
        format!(
            "{what}: hit_base_s {}, cached_token_s {}",
            reason("hit_base_s"),
            reason("cached_token_s")
        )
    };
    match form {
        Form::Polynomial(weights) => {
            let (hit, note) = match hits {
                true => ((weights[3], weights[4]), None),
                false => (hit, Some(assumed("No timing has a cached part"))),
            };
            let text = CostText {
                model: "polynomial".to_string(),
                base_s: Some(weights[0]),
                token_s: Some(weights[1]),
                token2_s: Some(weights[2]),
                hit_base_s: Some(hit.0),
                cached_token_s: Some(hit.1),
                ..CostText::default()
            };
            (text, note)
        }
        Form::Table(grid) => {
            let note = assumed(
                "Rows with cached tokens are not measured: the difference of two prompts and the fixed part",
            );
            let text = CostText {
                hit_base_s: Some(hit.0),
                cached_token_s: Some(hit.1),
                ..table_text(&with_cached_rows(grid, hit))
            };
            (text, Some(note))
        }
    }
}

/// Rows for cached prefixes from 1,024 tokens up, each at least twice the one before.
fn with_cached_rows(grid: &Grid, (hit_base, cached_token): (f64, f64)) -> Grid {
    let mut rows = vec![0];
    for &length in &grid.columns[..grid.columns.len() - 1] {
        if length >= 1_024 && length >= 2 * rows.last().copied().unwrap_or_default() {
            rows.push(length);
        }
    }
    let mut seconds: Vec<Vec<f64>> = Vec::new();
    for &cached in &rows {
        let hit = if cached > 0 { hit_base } else { 0.0 };
        let mut row: Vec<f64> = grid
            .columns
            .iter()
            .map(|&computed| {
                cached_cost(grid, cached, computed) + hit + cached_token * cached as f64
            })
            .collect();
        // Measured row by measured row nothing falls; differences of them may.
        let above = seconds.last();
        let mut left = 0.0_f64;
        for (j, value) in row.iter_mut().enumerate() {
            *value = value.max(left).max(above.map_or(0.0, |above| above[j]));
            left = *value;
        }
        seconds.push(row);
    }
    Grid {
        rows,
        columns: grid.columns.clone(),
        seconds,
    }
}

fn table_text(grid: &Grid) -> CostText {
    CostText {
        model: "table".to_string(),
        rows: Some(grid.rows.clone()),
        columns: Some(grid.columns.clone()),
        seconds: Some(grid.seconds.clone()),
        ..CostText::default()
    }
}

/// [decode].
pub(super) fn decode_cost(path: &Path, form: &Form) -> Result<CostText, CalibrateError> {
    match form {
        Form::Table(grid) => Ok(table_text(grid)),
        // No step is free; a fit through 0 means data of too few batches to tell.
        Form::Polynomial(weights) if weights[0] <= 0.0 => Err(CalibrateError::File {
            path: path.to_path_buf(),
            message: "decode: expected steps with a fixed part, found a fit without one"
                .to_string(),
        }),
        Form::Polynomial(weights) => Ok(CostText {
            model: "polynomial".to_string(),
            base_s: Some(weights[0]),
            request_s: Some(weights[1]),
            context_token_s: Some(weights[2]),
            ..CostText::default()
        }),
    }
}

/// What prefill and decode share in one pass, and how well that one number explains mixed batches.
fn mixed(settings: &[Point], prefill: &Form, decode: &Form) -> Option<(f64, Part)> {
    let passes: Vec<(f64, f64)> = settings
        .iter()
        .filter_map(|point| match point.work {
            Work::Mixed {
                chunk,
                chunk_cached,
                batch,
                context,
            } => {
                let prompt = chunk_cached + chunk;
                let alone = prefill.predict(Work::Prefill {
                    prompt,
                    cached: chunk_cached,
                }) + decode.predict(Work::Decode { batch, context });
                Some((alone, point.seconds))
            }
            _ => None,
        })
        .collect();
    if passes.is_empty() {
        return None;
    }
    // alone - pass = measured, by relative least squares.
    let shared = |passes: &[(f64, f64)]| {
        let sums = passes.iter().map(|(alone, seconds)| {
            let weight = 1.0 / (seconds * seconds);
            ((alone - seconds) * weight, weight)
        });
        let (above, below) = sums.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        (above / below).max(0.0)
    };
    let pass = shared(&passes);
    let errors = |pairs: Vec<(f64, f64)>| Errors::of(&pairs);
    let mut held_out = Vec::new();
    for i in 0..passes.len().min(2_000) {
        let kept: Vec<(f64, f64)> = [&passes[..i], &passes[i + 1..]].concat();
        if !kept.is_empty() {
            held_out.push((passes[i].0 - shared(&kept), passes[i].1));
        }
    }
    let part = Part {
        what: "mixed",
        form: "sum less a pass",
        settings: passes.len(),
        fit: errors(passes.iter().map(|(alone, t)| (alone - pass, *t)).collect()),
        held_out: errors(held_out),
        how: "each setting left out in turn".to_string(),
        other: None,
    };
    Some((pass, part))
}

/// At most so many lines fit into a picture.
const CURVES_MAX: usize = 6;

fn picture(half: Half, form: &Form, timings: &Timings) -> Picture {
    // One line a cached length or a batch; along it the prompt or the context.
    let split = |work: Work| match work {
        Work::Prefill { prompt, cached } => (cached, prompt),
        Work::Decode { batch, context } => (batch, context),
        Work::Mixed { .. } | Work::Move { .. } => unreachable!("not among the timings of a half"),
    };
    let join = |by: u64, x: u64| match half {
        Half::Prefill => Work::Prefill {
            prompt: x,
            cached: by,
        },
        Half::Decode => Work::Decode {
            batch: by,
            context: x,
        },
    };
    let names: BTreeSet<u64> = timings.iter().map(|(work, _)| split(*work).0).collect();
    let names: Vec<u64> = names.into_iter().collect();
    let step = names.len().div_ceil(CURVES_MAX).max(1);
    let curve = |&by: &u64| {
        let own = timings.iter().filter(|(work, _)| split(*work).0 == by);
        let points: Vec<(u64, f64)> = own.map(|(work, t)| (split(*work).1, *t)).collect();
        let xs: BTreeSet<u64> = points.iter().map(|(x, _)| *x).collect();
        Curve {
            name: match half {
                Half::Prefill => format!("{by} cached"),
                Half::Decode => format!("batch {by}"),
            },
            points: points.iter().map(|(x, t)| (*x as f64, t * 1e3)).collect(),
            fit: xs
                .iter()
                .map(|&x| (x as f64, form.predict(join(by, x)) * 1e3))
                .collect(),
        }
    };
    let (what, x_label) = match half {
        Half::Prefill => ("prefill", "prompt, tokens"),
        Half::Decode => ("decode", "context of a request, tokens"),
    };
    Picture {
        what,
        x_label: x_label.to_string(),
        y_label: format!("{what}, ms"),
        curves: names.iter().step_by(step).map(curve).collect(),
    }
}

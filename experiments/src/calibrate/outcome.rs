//! What a calibration gives: a profile, how wrong it is, and points and lines to draw.

use super::constants::Constants;
use super::data::{Data, Point, Work};
use super::{CalibrateError, Errors, Options, write};
use conductor_core::config::{CostText, MixedText, Profile};
use conductor_core::units::Tokens;
use serde::Serialize;
use std::path::Path;

/// A calibrated profile.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// As a simulation reads it.
    pub profile: Profile,
    /// As it is written, with what a reader should know.
    pub text: String,
    /// Each part that was fitted.
    pub parts: Vec<Part>,
    /// What can be drawn.
    pub pictures: Vec<Picture>,
    /// Which rows were taken.
    pub rows: String,
    /// What was left out, and why.
    pub left_out: Vec<String>,
}

/// How one part was fitted, and how far it is from what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// `prefill`, `decode`, `mixed`, or with serving data `tpot` and `ttft`.
    pub what: &'static str,
    /// `polynomial`, `table` or `closed form`.
    pub form: &'static str,
    /// Settings that it was fitted to, each with the median of its repeats.
    pub settings: usize,
    /// Errors on these.
    pub fit: Errors,
    /// Errors on what was held out.
    pub held_out: Errors,
    /// What that was.
    pub how: String,
    /// The form that was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<Other>,
}

/// A form that was tried and not taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Other {
    /// Which.
    pub form: &'static str,
    /// Its held-out errors.
    pub held_out: Errors,
}

/// Fit against points.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// `prefill`, `decode`, `tpot` or `ttft`.
    pub what: &'static str,
    /// With its unit.
    pub x_label: String,
    /// With its unit.
    pub y_label: String,
    /// What is drawn.
    pub curves: Vec<Curve>,
}

/// One line of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What its points have in common.
    pub name: String,
    /// Measured.
    pub points: Vec<(f64, f64)>,
    /// By the profile.
    pub fit: Vec<(f64, f64)>,
}

/// What a fit hands over to be written.
pub(super) struct Fitted {
    pub(super) prefill: CostText,
    pub(super) decode: CostText,
    pub(super) mixed: Option<MixedText>,
    pub(super) constants: Constants,
    pub(super) parts: Vec<Part>,
    pub(super) pictures: Vec<Picture>,
    /// Sentences about a section, for its comment.
    pub(super) notes: Vec<(&'static str, String)>,
    pub(super) left_out: Vec<String>,
}

/// Writes the profile, reads it again, and judges what was read.
pub(super) fn finish(
    path: &Path,
    data: &Data,
    options: &Options,
    mut fitted: Fitted,
) -> Result<Outcome, CalibrateError> {
    let mut left_out = data.left_out.clone();
    left_out.append(&mut fitted.left_out);
    let text = write::profile(path, data, options, &fitted, &left_out)?;
    let profile = Profile::parse(&text).map_err(CalibrateError::Refused)?;
    // The errors that are shown are those of the profile as it is written and priced, not of the fit in floats.
    let cost = profile.cost();
    for part in &mut fitted.parts {
        let pairs: Vec<(f64, f64)> = data
            .settings()
            .iter()
            .filter_map(|Point { work, seconds }| {
                let nanos = match (part.what, *work) {
                    ("prefill", Work::Prefill { prompt, cached }) => {
                        cost.prefill(Tokens(prompt), Tokens(cached))
                    }
                    ("decode", Work::Decode { batch, context }) => {
                        cost.decode_step(batch as u32, Tokens(batch * context))
                    }
                    _ => return None,
                };
                Some((nanos.as_secs_f64(), *seconds))
            })
            .collect();
        if !pairs.is_empty() {
            part.fit = Errors::of(&pairs);
        }
    }
    Ok(Outcome {
        profile,
        text,
        parts: fitted.parts,
        pictures: fitted.pictures,
        rows: data.rows.clone(),
        left_out,
    })
}

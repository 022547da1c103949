//! A coupled engine under a closed loop, in closed form: what mean TTFT and TPOT say of prefill and decode.
//!
//! `c` clients send prompts of `L` tokens and wait for `m` tokens each, `w` requests one after the other. The engine
//! runs passes: a decode step of all, and up to `budget` prompt tokens with it. With a pass that costs
//! `base + request B + context KV`, and prompt tokens that add `token n + token2 n^2` to it:
//!
//! - **TPOT.** A request sees `m - 1` steps at batch `c` and `c (L + m / 2)` KV tokens, and between its first and its
//!   last token the prefills of the others, each once; in its client's last round only those behind it, half of them.
//! - **TTFT.** In the first round all prompts are there at once and the n-th pass has the n-th `budget` of them. Later
//!   they come one by one, as answers end: a prompt waits for half a step and is computed in the next one.
//! - Before the queue, and after it: `host`, a serving loop's own time.
//!
//! All six are linear in the measurements. Points whose KV does not fit have a queue that this form has not: they are
//! left out of the fit, whichever half they belong to. The simulator has the queue, and judges them.

use super::constants::Constants;
use super::data::{Data, Serving};
use super::errors::Errors;
use super::fit::{dot, relative};
use super::forms::Form;
use super::halves::{SETTINGS_MIN, decode_cost};
use super::outcome::{Curve, Fitted, Part, Picture};
use super::{CalibrateError, Options};
use conductor_core::config::CostText;
use std::collections::BTreeSet;
use std::path::Path;

/// What is assumed of engine and benchmark, beside what is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Assumed {
    /// Prompt tokens of one pass.
    budget: u64,
    /// KV tokens that fit.
    room: u64,
    /// Requests of each client.
    rounds: u32,
}

/// Seconds: base, request, context token, prompt token, its square, host.
#[derive(Clone, Debug, PartialEq)]
struct Weights(Vec<f64>);

impl Assumed {
    /// True if all clients' requests fit at their full length.
    fn fits(&self, point: &Serving) -> bool {
        u64::from(point.concurrency) * (point.input + point.output) <= self.room
    }

    /// The two equations of a point: coefficients of TPOT and of TTFT.
    fn equations(&self, point: &Serving) -> [Vec<f64>; 2] {
        let (c, rounds) = (f64::from(point.concurrency), f64::from(self.rounds));
        let (input, output) = (point.input as f64, point.output as f64);
        let kv = c * (input + output / 2.0);
        let others = (c - 1.0) * (rounds - 0.5) / rounds / (output - 1.0);
        let tpot = vec![1.0, c, kv, others * input, others * input * input, 0.0];

        let together = u64::from(point.concurrency).min((self.budget / point.input).max(1));
        let (mut passes, mut prompts) = (0.0, 0.0);
        for request in 0..u64::from(point.concurrency) {
            let pass = request / together + 1;
            passes += pass as f64 / c;
            prompts += (pass * together).min(u64::from(point.concurrency)) as f64 / c;
        }
        let (first, later) = (1.0 / rounds, 1.0 - 1.0 / rounds);
        let computed = later + first * prompts;
        let ttft = vec![
            later * 1.5 + first * passes,
            later * 1.5 * c,
            later * 1.5 * kv,
            computed * input,
            computed * input * input,
            1.0,
        ];
        [tpot, ttft]
    }

    fn fit(&self, points: &[Serving]) -> Option<Weights> {
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        for point in points.iter().filter(|point| self.fits(point)) {
            rows.extend(self.equations(point));
            targets.extend([point.tpot_s, point.ttft_s]);
        }
        relative(&rows, &targets).map(Weights)
    }

    /// TPOT and TTFT by the fit.
    fn predict(&self, fitted: &Weights, point: &Serving) -> (f64, f64) {
        let [tpot, ttft] = self.equations(point);
        (dot(&tpot, &fitted.0), dot(&ttft, &fitted.0))
    }

    /// Errors of TPOT and of TTFT over the points that fit.
    fn errors(&self, fitted: &Weights, points: &[Serving]) -> [Errors; 2] {
        let (mut tpot, mut ttft) = (Vec::new(), Vec::new());
        for point in points.iter().filter(|point| self.fits(point)) {
            let predicted = self.predict(fitted, point);
            tpot.push((predicted.0, point.tpot_s));
            ttft.push((predicted.1, point.ttft_s));
        }
        [Errors::of(&tpot), Errors::of(&ttft)]
    }
}

/// Fits a closed loop's TTFT and TPOT.
pub(super) fn fit(
    path: &Path,
    data: &Data,
    options: &Options,
    constants: &Constants,
) -> Result<Fitted, CalibrateError> {
    let assumed = Assumed {
        budget: constants.get("prefill_chunk_tokens") as u64,
        room: constants.get("hbm_kv_tokens") as u64,
        rounds: options.rounds,
    };
    let all: BTreeSet<u32> = data.serving.iter().map(|point| point.concurrency).collect();
    if let Some(absent) = options.fit_concurrency.iter().find(|c| !all.contains(c)) {
        let has: Vec<String> = all.iter().map(u32::to_string).collect();
        return Err(CalibrateError::Choice {
            path: path.to_path_buf(),
            option: "--fit-concurrency",
            has: has.join(", "),
            found: absent.to_string(),
        });
    }
    let chosen =
        |c: u32| options.fit_concurrency.is_empty() || options.fit_concurrency.contains(&c);
    let (fit, judge): (Vec<_>, Vec<_>) = data
        .serving
        .iter()
        .copied()
        .partition(|point| chosen(point.concurrency));
    let usable = fit.iter().filter(|point| assumed.fits(point)).count();
    let too_few = || CalibrateError::TooFew {
        path: path.to_path_buf(),
        what: "serving points whose KV fits",
        least: SETTINGS_MIN,
        found: usable,
    };
    if usable < SETTINGS_MIN {
        return Err(too_few());
    }
    let fitted = assumed.fit(&fit).ok_or_else(too_few)?;
    let (weights, in_fit) = (&fitted.0, assumed.errors(&fitted, &fit));
    let list = |some: &mut dyn Iterator<Item = u32>| {
        let some: Vec<String> = some.map(|c| c.to_string()).collect();
        some.join(", ")
    };
    let (held_out, how) = if judge.is_empty() {
        (in_fit, "nothing held out".to_string())
    } else {
        let others = list(&mut all.iter().copied().filter(|c| !chosen(*c)));
        (
            assumed.errors(&fitted, &judge),
            format!("{others} clients, fitted on the other numbers"),
        )
    };
    let part = |what, i: usize| Part {
        what,
        form: "closed form",
        settings: usable,
        fit: in_fit[i],
        held_out: held_out[i],
        how: how.clone(),
        other: None,
    };
    let mut constants = constants.clone();
    constants.set(
        "schedule_s",
        weights[5],
        "Fitted: what TTFT has besides the passes of the engine, a serving loop's own time",
    );
    let parts = vec![part("tpot", 0), part("ttft", 1)];
    let said = parts.iter().map(|part| {
        format!(
            "{} on {}: {} (median / p95 / max)",
            part.what.to_uppercase(),
            part.how,
            part.held_out.text()
        )
    });
    let said = said.collect::<Vec<_>>().join("; ");
    let rounds = options.rounds;
    let note = format!(
        "Fitted in closed form to TTFT and TPOT at {} clients with {rounds} requests each, {usable} points whose KV \
         fits. Held out: {said}",
        list(&mut all.iter().copied().filter(|c| chosen(*c)))
    );
    let notes = vec![
        ("prefill", note),
        (
            "prefill",
            "A prompt alone is a pass with nothing to decode: base_s is decode's, and what parts of one pass share"
                .to_string(),
        ),
    ];
    let queued = data
        .serving
        .iter()
        .filter(|point| !assumed.fits(point))
        .count();
    let mut left_out = Vec::new();
    if queued > 0 {
        left_out.push(format!(
            "{queued} points whose requests do not fit at once at full length: they queue, which the closed form has not"
        ));
    }
    Ok(Fitted {
        prefill: CostText {
            model: "polynomial".to_string(),
            base_s: Some(weights[0]),
            token_s: Some(weights[3]),
            token2_s: Some(weights[4]),
            hit_base_s: Some(constants.get("hit_base_s")),
            cached_token_s: Some(constants.get("cached_token_s")),
            ..CostText::default()
        },
        decode: decode_cost(path, &Form::Polynomial(weights[..3].to_vec()))?,
        mixed: None,
        pictures: pictures(&assumed, &fitted, &data.serving),
        constants,
        parts,
        notes,
        left_out,
    })
}

/// TPOT and TTFT over the number of clients, a line for each pair of lengths.
fn pictures(assumed: &Assumed, fitted: &Weights, points: &[Serving]) -> Vec<Picture> {
    let lengths: BTreeSet<(u64, u64)> = points.iter().map(|p| (p.input, p.output)).collect();
    let picture = |what, of: fn(&Serving) -> f64, by: fn((f64, f64)) -> f64| {
        let curve = |&(input, output): &(u64, u64)| {
            let mut own: Vec<&Serving> = points
                .iter()
                .filter(|point| (point.input, point.output) == (input, output))
                .collect();
            own.sort_by_key(|point| point.concurrency);
            let x = |point: &Serving| f64::from(point.concurrency);
            Curve {
                name: format!("{input} in, {output} out"),
                points: own.iter().map(|p| (x(p), of(p) * 1e3)).collect(),
                fit: own
                    .iter()
                    .filter(|point| assumed.fits(point))
                    .map(|p| (x(p), by(assumed.predict(fitted, p)) * 1e3))
                    .collect(),
            }
        };
        Picture {
            what,
            x_label: "clients".to_string(),
            y_label: format!("{}, ms", what.to_uppercase()),
            curves: lengths.iter().map(curve).collect(),
        }
    };
    vec![
        picture("tpot", |point| point.tpot_s, |predicted| predicted.0),
        picture("ttft", |point| point.ttft_s, |predicted| predicted.1),
    ]
}

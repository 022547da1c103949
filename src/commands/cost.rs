//! `conductor cost`: what a profile says work costs.

use crate::args::CostArgs;
use crate::failure::Failure;
use crate::render;
use conductor_core::cost::PROMPT_MAX;
use conductor_core::units::Tokens;
use conductor_experiments::inputs;
use serde_json::json;

/// Prices each prompt with each cached share, and each batch with each context.
pub(crate) fn run(args: &CostArgs) -> Result<(), Failure> {
    check(args)?;
    let profile = inputs::profile(&args.profile)?;
    let cost = profile.cost();
    let (mut prefill, mut decode) = (Vec::new(), Vec::new());
    for &prompt in &args.prompt {
        for &share in &args.cached {
            // The share is not rounded to blocks; at least one token is always computed.
            let cached = ((prompt as f64 * share) as u64).min(prompt - 1);
            prefill.push((
                prompt,
                share,
                cost.prefill(Tokens(prompt), Tokens(cached)).as_secs_f64(),
            ));
        }
    }
    for &batch in &args.batch {
        for &context in &args.context {
            let step = cost.decode_step(batch, Tokens(context * u64::from(batch)));
            decode.push((batch, context, step.as_secs_f64()));
        }
    }
    if args.json {
        let prefill = prefill.iter().map(|(prompt, cached, seconds)| {
            json!({ "prompt": prompt, "cached": cached, "seconds": seconds })
        });
        let decode = decode.iter().map(|(batch, context, seconds)| {
            json!({ "batch": batch, "context": context, "seconds": seconds })
        });
        let document =
            json!({ "prefill": prefill.collect::<Vec<_>>(), "decode": decode.collect::<Vec<_>>() });
        return Ok(render::print_json(&document)?);
    }
    let text = &profile.text;
    render::print(format_args!(
        "{}: {}, {} ({})",
        text.name, text.source, text.engine, text.date
    ))?;
    let rows = prefill.iter().map(|(prompt, cached, seconds)| {
        vec![
            prompt.to_string(),
            format!("{:.0} %", cached * 100.0),
            format!("{seconds:.3}"),
        ]
    });
    render::print(render::table(
        &["prompt, tokens", "cached", "prefill, s"],
        rows,
    ))?;
    let rows = decode.iter().map(|(batch, context, seconds)| {
        vec![
            batch.to_string(),
            context.to_string(),
            format!("{:.2}", seconds * 1e3),
        ]
    });
    Ok(render::print(render::table(
        &["batch", "context a request, tokens", "decode step, ms"],
        rows,
    ))?)
}

fn check(args: &CostArgs) -> Result<(), Failure> {
    let within = |name: &str, value: u64, most: u64| {
        if (1..=most).contains(&value) {
            return Ok(());
        }
        Err(Failure::Input(format!(
            "--{name}: expected a whole number from 1 to {most}, found {value}"
        )))
    };
    args.prompt
        .iter()
        .try_for_each(|&prompt| within("prompt", prompt, PROMPT_MAX.0))?;
    args.context
        .iter()
        .try_for_each(|&context| within("context", context, PROMPT_MAX.0))?;
    args.batch
        .iter()
        .try_for_each(|&batch| within("batch", u64::from(batch), 65_536))?;
    match args
        .cached
        .iter()
        .find(|share| !(0.0..=1.0).contains(*share))
    {
        None => Ok(()),
        Some(share) => Err(Failure::Input(format!(
            "--cached: expected a share from 0 to 1, found {share}"
        ))),
    }
}

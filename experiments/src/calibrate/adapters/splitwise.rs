//! `perf_model.csv` of splitwise-sim (github.com/mutinifni/splitwise-sim, MIT; Patel et al., ISCA'24): measured runs of
//! one batch end to end, in ms.
//!
//! Sweeps of one factor: prompts of 128-8,192 tokens at batch 1, batches of 1-64 at prompt 512, answers of 128-8,192
//! tokens at prompt 512 and batch 1. A prefill point is a run at batch 1: a batch's prompts were padded and computed
//! together, which is not one prompt's cost. A decode point is a run's mean step, at the mean context of its steps.

use super::{Select, tp_text};
use crate::calibrate::CalibrateError;
use crate::calibrate::data::{Data, Facts, Point, Work};
use crate::calibrate::sheet::Sheet;

pub(super) const COLUMNS: [&str; 7] = [
    "model",
    "hardware",
    "prompt_size",
    "batch_size",
    "token_size",
    "prompt_time",
    "token_time",
];

pub(super) fn read(sheet: &mut Sheet, select: &Select) -> Result<Data, CalibrateError> {
    let model = sheet.choose("model", "--model", select.model.as_deref())?;
    let gpu = sheet.choose("hardware", "--gpu", select.gpu.as_deref())?;
    let tp = sheet.choose("tensor_parallel", "--tp", tp_text(select).as_deref())?;
    let (mut points, mut unfit, mut batched) = (Vec::new(), 0, 0);
    for row in &sheet.rows {
        let prompt = sheet.whole(row, "prompt_size", 1)?;
        let batch = sheet.whole(row, "batch_size", 1)?;
        let answer = sheet.whole(row, "token_size", 1)?;
        // Five runs at TP2: 160 s end to end, and the power is given as 0. The KV did not fit.
        if (tp.as_str(), prompt, batch) == ("2", 512, 64) {
            unfit += 1;
            continue;
        }
        if batch == 1 {
            points.push(Point {
                work: Work::Prefill { prompt, cached: 0 },
                seconds: sheet.positive(row, "prompt_time")? / 1e3,
            });
        } else {
            batched += 1;
        }
        points.push(Point {
            work: Work::Decode {
                batch,
                context: prompt + answer / 2,
            },
            seconds: sheet.positive(row, "token_time")? / 1e3,
        });
    }
    let mut left_out = vec![format!(
        "{batched} prefill times of batches above 1: prompts padded and computed together, not one prompt's cost"
    )];
    if unfit > 0 {
        left_out.push(format!(
            "{unfit} runs at prompt 512, batch 64: end to end 160 s, the KV did not fit"
        ));
    }
    Ok(Data {
        rows: format!(
            "model = {model}, hardware = {gpu}, tensor_parallel = {tp}: {} runs",
            sheet.rows.len() - unfit
        ),
        facts: Facts {
            tp: tp.parse().ok(),
            gpu: Some(gpu),
            model: Some(model),
            engine: Some("Splitwise's stack of 2023 (ISCA'24)".to_string()),
            date: Some("2023".to_string()),
            source: Some(
                "splitwise-sim (MIT), perf_model.csv: measured end to end (Patel et al., ISCA'24)"
                    .to_string(),
            ),
        },
        points,
        left_out,
        ..Data::default()
    })
}

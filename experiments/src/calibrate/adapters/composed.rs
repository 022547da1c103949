//! Passes of Llama-3.1-70B composed from kernels that aiconfigurator has measured (PyPI aiconfigurator-core 0.12.0,
//! Apache-2.0), in ms.
//!
//! Prefill of 1-131,072 tokens, one prompt alone; decode steps of 1-256 requests with 128-131,072 tokens each. Not
//! measured end to end, and prefill beyond 16k tokens is extrapolated by the composer.

use super::{Select, tp_text};
use crate::calibrate::CalibrateError;
use crate::calibrate::data::{Data, Facts, Point, Work};
use crate::calibrate::sheet::Sheet;

pub(super) const COLUMNS: [&str; 8] = [
    "system",
    "backend",
    "version",
    "tp",
    "phase",
    "batch",
    "isl_or_ctx",
    "latency_ms",
];

pub(super) fn read(sheet: &mut Sheet, select: &Select) -> Result<Data, CalibrateError> {
    let gpu = sheet.choose("system", "--gpu", select.gpu.as_deref())?;
    let tp = sheet.choose("tp", "--tp", tp_text(select).as_deref())?;
    let backend = sheet.choose("backend", "--backend", select.backend.as_deref())?;
    let mut points = Vec::new();
    for row in &sheet.rows {
        let (batch, tokens) = (
            sheet.whole(row, "batch", 1)?,
            sheet.whole(row, "isl_or_ctx", 1)?,
        );
        let work = match (sheet.text(row, "phase"), batch) {
            ("prefill", 1) => Work::Prefill {
                prompt: tokens,
                cached: 0,
            },
            ("prefill", _) => return Err(sheet.wrong(row, "batch", "1 for a prefill")),
            ("decode", _) => Work::Decode {
                batch,
                context: tokens,
            },
            _ => return Err(sheet.wrong(row, "phase", "prefill or decode")),
        };
        points.push(Point {
            work,
            seconds: sheet.positive(row, "latency_ms")? / 1e3,
        });
    }
    let version = sheet
        .rows
        .first()
        .map_or("", |row| sheet.text(row, "version"));
    Ok(Data {
        rows: format!("system = {gpu}, tp = {tp}: {} rows", points.len()),
        facts: Facts {
            tp: tp.parse().ok(),
            model: Some("llama3.1-70b".to_string()),
            engine: Some(format!("{backend} {version} kernels, composed")),
            date: Some("2025-26".to_string()),
            source: Some(format!(
                "composed from aiconfigurator-core 0.12.0's kernel tables (Apache-2.0), {gpu}, TP{tp}; not measured \
                 end to end, prefill beyond 16k extrapolated"
            )),
            gpu: Some(gpu),
        },
        points,
        ..Data::default()
    })
}

//! `measured_h100.csv` of aiconfigurator (PyPI aiconfigurator-core 0.12.0, Apache-2.0): mean TTFT and TPOT of real
//! engines under a closed loop, in ms.
//!
//! Rows of the mode `agg` are coupled engines, `batch_size` being the number of clients. Rows of the mode `disagg`
//! have workers of two kinds and no number of clients: nothing is fitted to them.

use super::{Select, tp_text};
use crate::calibrate::CalibrateError;
use crate::calibrate::data::{Data, Facts, Serving};
use crate::calibrate::sheet::Sheet;

pub(super) const COLUMNS: [&str; 8] = [
    "backend",
    "model_path",
    "mode",
    "isl",
    "osl",
    "batch_size",
    "silicon_ttft_ms",
    "silicon_tpot_ms",
];

pub(super) fn read(sheet: &mut Sheet, select: &Select) -> Result<Data, CalibrateError> {
    let gpu = sheet.choose("system", "--gpu", select.gpu.as_deref())?;
    let model = sheet.choose("model_path", "--model", select.model.as_deref())?;
    let backend = sheet.choose("backend", "--backend", select.backend.as_deref())?;
    let all = sheet.rows.len();
    sheet.choose("mode", "DATA", Some("agg"))?;
    let disaggregated = all - sheet.rows.len();
    let tp = sheet.choose("tp_size", "--tp", tp_text(select).as_deref())?;
    let precision = sheet.choose("precision", "--model", None)?;
    let mut serving = Vec::new();
    for row in &sheet.rows {
        if sheet.whole(row, "osl", 1)? < 2 {
            return Err(sheet.wrong(row, "osl", "at least 2 tokens, or there is no TPOT"));
        }
        let ms = |column: &str| sheet.positive(row, column).map(|ms| ms / 1e3);
        serving.push(Serving {
            input: sheet.whole(row, "isl", 1)?,
            output: sheet.whole(row, "osl", 1)?,
            concurrency: sheet.whole(row, "batch_size", 1)? as u32,
            ttft_s: ms("silicon_ttft_ms")?,
            tpot_s: ms("silicon_tpot_ms")?,
        });
    }
    let mut left_out = Vec::new();
    if disaggregated > 0 {
        left_out.push(format!(
            "{disaggregated} disaggregated points: they have no number of clients"
        ));
    }
    Ok(Data {
        rows: format!(
            "model_path = {model}, backend = {backend}, tp_size = {tp}, mode = agg: {} points",
            serving.len()
        ),
        facts: Facts {
            tp: tp.parse().ok(),
            engine: Some(format!("{backend}, version not given, {precision}")),
            date: Some("2025-26".to_string()),
            source: Some(format!(
                "aiconfigurator-core 0.12.0 (Apache-2.0), measured_h100.csv: {model} {precision}, {backend}, TP{tp}, \
                 measured TTFT and TPOT"
            )),
            gpu: Some(gpu),
            model: Some(model),
        },
        serving,
        left_out,
        ..Data::default()
    })
}

//! Quartiles and whiskers of a distribution over requests, beside published ones, in the manner of FAST'25 Fig 5.
//!
//! Quartiles and whiskers are made of the quantiles in `cdf.csv`, half a percent of the requests each; means are those
//! of `raw.csv`, over all requests.

use super::cells::Cells;
use super::failure;
use crate::failure::Failure;
use conductor_experiments::Spec;
use conductor_experiments::spec::{BoxPlot, Plot};
use conductor_plots::{BoxChart, BoxStats, Reference};
use std::path::Path;

pub(super) fn chart(
    folder: &Path,
    spec: &Spec,
    plot: &Plot,
    kind: &BoxPlot,
) -> Result<String, Failure> {
    let cells = Cells::open(folder, spec)?;
    let mean = format!("{}.mean", kind.of.name());
    let quantiles = super::cdf::Quantiles::open(folder)?;
    let mut boxes = Vec::new();
    for (name, run) in &kind.series {
        let values = quantiles.of(spec, plot, *run, kind.of, kind.scale)?;
        boxes.push(BoxStats {
            mean: cells.mean(*run, &mean)? * kind.scale,
            ..BoxStats::from_values(super::name(name), &values)
        });
    }
    let published = match &kind.published {
        Some(_) => published(folder, plot)?,
        None => Vec::new(),
    };
    let chart = BoxChart {
        title: plot.title.clone(),
        y_label: kind.y_label.clone(),
        boxes,
        published,
        y_max: kind.y_max,
        log_y: kind.log_y,
        references: kind
            .marks
            .iter()
            .map(|&at| Reference::new(at, at.to_string()))
            .collect(),
    };
    chart.to_svg().map_err(|error| failure(&error))
}

/// The published boxes; without the file none.
fn published(folder: &Path, plot: &Plot) -> Result<Vec<BoxStats>, Failure> {
    let Some(table) = super::published(folder, plot)? else {
        return Ok(Vec::new());
    };
    let names = table.column_text("series");
    let names = names.map_err(|error| failure(&error))?;
    let column = |name: &str| table.column(name).map_err(|error| failure(&error));
    let (low, q1, median) = (column("whisker_low")?, column("q1")?, column("median")?);
    let (q3, high, mean) = (column("q3")?, column("whisker_high")?, column("mean")?);
    let stats = names.into_iter().enumerate().map(|(row, name)| BoxStats {
        name,
        whisker_low: low[row],
        q1: q1[row],
        median: median[row],
        q3: q3[row],
        whisker_high: high[row],
        mean: mean[row],
    });
    Ok(stats.collect())
}

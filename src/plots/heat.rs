//! A metric by two axes, as colours.

use super::cells::Cells;
use super::failure;
use crate::failure::Failure;
use conductor_experiments::spec::{HeatPlot, Plot};
use conductor_plots::HeatChart;

pub(super) fn chart(cells: &Cells<'_>, plot: &Plot, kind: &HeatPlot) -> Result<String, Failure> {
    let column = cells.column(&kind.of)?;
    let row = |(_, runs): &(String, Vec<usize>)| {
        let values = runs.iter().map(|&run| Ok(column.estimate(run)?.mean));
        values.collect::<Result<Vec<f64>, Failure>>()
    };
    let chart = HeatChart {
        title: plot.title.clone(),
        x_label: kind.x_label.clone(),
        y_label: kind.y_label.clone(),
        columns: kind
            .columns
            .iter()
            .map(|column| super::name(column))
            .collect(),
        rows: kind.rows.iter().map(|(row, _)| super::name(row)).collect(),
        values: kind.rows.iter().map(row).collect::<Result<_, _>>()?,
        unit: kind.of.label.clone(),
    };
    chart.to_svg().map_err(|error| failure(&error))
}

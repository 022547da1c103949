//! Plots with one thing a run: a line or a box of a distribution, a cell of a heat map, what a search tried.

use super::Parser;
use super::plot::{published, short_names};
use crate::spec::plot::{BoxPlot, CdfPlot, Distribution, HeatPlot, SearchPlot};
use crate::spec::text::PlotText;
use crate::spec::{Search, SpecError, Value};
use toml::Spanned;

impl Parser<'_> {
    pub(super) fn cdf(&self, plot: &PlotText) -> Result<CdfPlot, SpecError> {
        let x_label = self.needed_by(plot, "x_label", plot.x_label.as_ref())?;
        Ok(CdfPlot {
            of: self.distribution(plot)?,
            scale: self.scale(plot)?,
            x_label: x_label.get_ref().clone(),
            log_x: plot.log_x.as_ref().is_some_and(|log_x| *log_x.get_ref()),
            x_max: self.end("plots.x_max", plot.x_max.as_ref())?,
            marks: marks(plot),
            series: self.series(plot)?,
            published: published(plot),
        })
    }

    pub(super) fn boxes(&self, plot: &PlotText) -> Result<BoxPlot, SpecError> {
        let y_label = self.needed_by(plot, "y_label", plot.y_label.as_ref())?;
        Ok(BoxPlot {
            of: self.distribution(plot)?,
            scale: self.scale(plot)?,
            y_label: y_label.get_ref().clone(),
            log_y: plot.log_y.as_ref().is_some_and(|log_y| *log_y.get_ref()),
            y_max: self.end("plots.y_max", plot.y_max.as_ref())?,
            marks: marks(plot),
            series: self.series(plot)?,
            published: published(plot),
        })
    }

    pub(super) fn heat(&self, plot: &PlotText) -> Result<HeatPlot, SpecError> {
        let over = self.needed_by(plot, "over", plot.over.as_ref())?;
        let by = self.needed_by(plot, "by", plot.by.as_ref())?;
        let text = |key, value: Option<&Spanned<String>>| {
            let value = self.needed_by(plot, key, value)?;
            Ok::<_, SpecError>(value.get_ref().clone())
        };
        let columns: Vec<&Value> = self.along(over, "plots.over")?.values.iter().collect();
        // Rows need no colours of their own, so there may be as many as there are values.
        let all = &self.along(by, "plots.by")?.values;
        let rows: Vec<&Value> = plot
            .values
            .as_ref()
            .map_or(all, Spanned::get_ref)
            .iter()
            .collect();
        if let Some(at) = plot.values.as_ref().filter(|_| rows.is_empty()) {
            return Err(self.error(at, "plots.values", "expected at least one value"));
        }
        let row = |(name, value): (String, &Value)| {
            let run =
                |&column: &&Value| self.cell(plot, &[Some((over, column)), Some((by, value))]);
            let runs = columns.iter().map(run).collect::<Result<_, SpecError>>()?;
            Ok((name, runs))
        };
        Ok(HeatPlot {
            of: self.measure(plot, "value_label", plot.value_label.as_ref())?,
            x_label: text("x_label", plot.x_label.as_ref())?,
            y_label: text("y_label", plot.y_label.as_ref())?,
            columns: short_names(&columns),
            rows: short_names(&rows)
                .into_iter()
                .zip(rows)
                .map(row)
                .collect::<Result<_, SpecError>>()?,
        })
    }

    /// What a plot of distributions has as its metric.
    fn distribution(&self, plot: &PlotText) -> Result<Distribution, SpecError> {
        let metric = self.needed_by(plot, "metric", plot.metric.as_ref())?;
        let mut known = Distribution::ALL.into_iter();
        known
            .find(|of| of.name() == metric.get_ref())
            .ok_or_else(|| {
                let known = Distribution::ALL.map(Distribution::name).join(", ");
                let message = format!("expected one of: {known}, found \"{}\"", metric.get_ref());
                self.error(metric, "plots.metric", message)
            })
    }

    /// The end of an axis, if it is given.
    fn end(&self, key: &str, end: Option<&Spanned<f64>>) -> Result<Option<f64>, SpecError> {
        let value = end.map(|end| *end.get_ref());
        match end.filter(|end| !(end.get_ref().is_finite() && *end.get_ref() > 0.0)) {
            Some(at) => Err(self.error(at, key, "expected a number above 0")),
            None => Ok(value),
        }
    }

    pub(super) fn tries(
        &self,
        plot: &PlotText,
        search: Option<&Search>,
    ) -> Result<SearchPlot, SpecError> {
        let Some(search) = search else {
            return Err(self.error(&plot.kind, "plots.kind", "there is no [search]"));
        };
        let x_label = self.needed_by(plot, "x_label", plot.x_label.as_ref())?;
        let conditions = search.conditions.iter();
        Ok(SearchPlot {
            x_label: x_label.get_ref().clone(),
            log_x: plot.log_x.as_ref().is_some_and(|log_x| *log_x.get_ref()),
            log_y: plot.log_y.as_ref().is_some_and(|log_y| *log_y.get_ref()),
            series: self.series(plot)?,
            panels: conditions.map(|c| c.condition.metric.to_string()).collect(),
            published: published(plot),
        })
    }

    /// Names of the lines and the numbers of their runs.
    fn series(&self, plot: &PlotText) -> Result<Vec<(String, usize)>, SpecError> {
        let curve = |(name, value): (String, Option<&Value>)| {
            let along = [plot.by.as_ref().zip(value)];
            Ok((name, self.cell(plot, &along)?))
        };
        let names = self.drawn(plot, "by", plot.by.as_ref())?;
        names.into_iter().map(curve).collect()
    }
}

/// Where there are lines across the data.
fn marks(plot: &PlotText) -> Vec<f64> {
    let marks = plot.marks.as_ref();
    marks.map_or_else(Vec::new, |marks| marks.get_ref().clone())
}

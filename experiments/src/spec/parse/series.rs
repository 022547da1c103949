//! Plots with one line a run: distributions, and what searches tried.

use super::Parser;
use super::plot::published;
use crate::spec::plot::{CdfPlot, Distribution, SearchPlot};
use crate::spec::text::PlotText;
use crate::spec::{Search, SpecError, Value};

impl Parser<'_> {
    pub(super) fn cdf(&self, plot: &PlotText) -> Result<CdfPlot, SpecError> {
        let metric = self.needed_by(plot, "metric", plot.metric.as_ref())?;
        let mut known = Distribution::ALL.into_iter();
        let Some(of) = known.find(|of| of.name() == metric.get_ref()) else {
            let known = Distribution::ALL.map(Distribution::name).join(", ");
            let message = format!("expected one of: {known}, found \"{}\"", metric.get_ref());
            return Err(self.error(metric, "plots.metric", message));
        };
        let x_max = plot.x_max.as_ref().map(|x_max| *x_max.get_ref());
        if let Some(at) = &plot.x_max
            && !x_max.is_some_and(|x_max| x_max.is_finite() && x_max > 0.0)
        {
            return Err(self.error(at, "plots.x_max", "expected a number above 0"));
        }
        let x_label = self.needed_by(plot, "x_label", plot.x_label.as_ref())?;
        Ok(CdfPlot {
            of,
            scale: self.scale(plot)?,
            x_label: x_label.get_ref().clone(),
            log_x: plot.log_x.as_ref().is_some_and(|log_x| *log_x.get_ref()),
            x_max,
            marks: plot
                .marks
                .as_ref()
                .map_or_else(Vec::new, |marks| marks.get_ref().clone()),
            series: self.series(plot)?,
            published: published(plot),
        })
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

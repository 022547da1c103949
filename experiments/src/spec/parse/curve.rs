//! Curves: points for each value of two axes.

use super::Parser;
use crate::spec::text::{CurveText, Values};
use crate::spec::{Axis, CurvePoint, SpecError};
use toml::Spanned;

impl Parser<'_> {
    pub(super) fn curve(&self, curve: &CurveText) -> Result<Vec<CurvePoint>, SpecError> {
        let metric = self.metric(&curve.metric, "curves.metric")?;
        let by = self.along(&curve.by, "curves.by")?;
        let over = self.along(&curve.over, "curves.over")?;
        let mut points = Vec::new();
        for series in &by.values {
            for x in &over.values {
                let along = Values::from([
                    (curve.by.clone(), series.clone()),
                    (curve.over.clone(), x.clone()),
                ]);
                points.push(CurvePoint {
                    series: format!("{series}, {}", curve.what),
                    x: x.clone(),
                    run: self.one("curves.at", &curve.metric, &[&curve.at, &along])?,
                    metric: metric.clone(),
                    scale: curve.scale,
                    unit: curve.unit.clone(),
                });
            }
        }
        Ok(points)
    }

    /// The axis of a name.
    pub(super) fn along(&self, name: &Spanned<String>, whose: &str) -> Result<&Axis, SpecError> {
        let axis = self.axes.iter().find(|axis| axis.name == *name.get_ref());
        axis.ok_or_else(|| {
            let known: Vec<_> = self.axes.iter().map(|axis| axis.name.as_str()).collect();
            let message = format!("no such axis, expected one of: {}", known.join(", "));
            self.error(name, whose, message)
        })
    }
}

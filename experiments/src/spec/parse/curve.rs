//! Curves: points for each value of an axis or two.

use super::Parser;
use crate::nearest::hint;
use crate::spec::text::{CurveText, Values};
use crate::spec::{Axis, CurvePoint, SpecError};
use toml::Spanned;

impl Parser<'_> {
    pub(super) fn curve(&self, curve: &CurveText) -> Result<Vec<CurvePoint>, SpecError> {
        let metric = self.metric(&curve.metric, "curves.metric")?;
        let by = match &curve.by {
            Some(by) if by.get_ref() == curve.over.get_ref() => {
                let message = "the axis is drawn twice";
                return Err(self.error(by, "curves.by", message));
            }
            Some(by) => {
                let values = self.along(by, "curves.by")?.values.iter();
                values.map(|value| Some((by, value))).collect()
            }
            None => vec![None],
        };
        let over = self.along(&curve.over, "curves.over")?;
        let mut points = Vec::new();
        for series in by {
            for x in &over.values {
                let mut along = Values::from([(curve.over.clone(), x.clone())]);
                along.extend(series.map(|(by, value)| (by.clone(), value.clone())));
                points.push(CurvePoint {
                    series: match series {
                        Some((_, value)) => format!("{value}, {}", curve.what),
                        None => curve.what.clone(),
                    },
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
            let hint = hint(name.get_ref(), known.iter().copied());
            let message = format!("no such axis{hint}, expected one of: {}", known.join(", "));
            self.error(name, whose, message)
        })
    }
}

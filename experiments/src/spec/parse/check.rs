//! Checks: which keys a kind has, and which runs it is about.

use super::Parser;
use crate::metric::Metric;
use crate::spec::text::{CheckText, Values};
use crate::spec::{Check, CheckKind, Limits, Side, SpecError, Value};
use toml::Spanned;

impl Parser<'_> {
    pub(super) fn check(&self, check: CheckText) -> Result<Check, SpecError> {
        let metric = self.metric(&check.metric, "checks.metric")?;
        let kind = check.kind.get_ref().as_str();
        let unused: &[(&str, Option<usize>)] = &[
            ("over", check.over.as_ref().map(|key| self.line(key))),
            ("values", check.values.as_ref().map(|key| self.line(key))),
            ("of", check.of.as_ref().map(|key| self.line(key))),
            ("to", check.to.as_ref().map(|key| self.line(key))),
            ("scale", check.scale.as_ref().map(|key| self.line(key))),
            ("minus", check.minus.as_ref().map(|key| self.line(key))),
            ("side", check.side.as_ref().map(|key| self.line(key))),
            (
                "at_least",
                check.at_least.as_ref().map(|key| self.line(key)),
            ),
            ("low", check.low.as_ref().map(|key| self.line(key))),
            ("high", check.high.as_ref().map(|key| self.line(key))),
        ];
        let used: &[&str] = match kind {
            "order" => &["over", "values"],
            "band" => &["scale", "low", "high"],
            "ratio" => &["of", "to", "low", "high"],
            "difference" => &["of", "to", "minus", "side", "at_least"],
            "flat" => &["over", "low"],
            other => {
                let message = format!(
                    "unknown kind \"{other}\", expected order, band, ratio, difference or flat"
                );
                return Err(self.error(&check.kind, "checks.kind", message));
            }
        };
        for (key, line) in unused.iter().filter(|(key, _)| !used.contains(key)) {
            if let Some(line) = line {
                let message = format!("has no meaning for a check of kind \"{kind}\"");
                return Err(SpecError::new(*line, &format!("checks.{key}"), message));
            }
        }
        let kind = match kind {
            "order" => self.order(&check)?,
            "band" => CheckKind::Band {
                run: self.one("checks.at", &check.kind, &[common(&check)])?,
                scale: check.scale.as_ref().map_or(1.0, |scale| *scale.get_ref()),
                limits: self.limits(&check)?,
            },
            "difference" => self.difference(&check, &metric)?,
            "flat" => self.flat(&check)?,
            _ => {
                let of = self.needed(&check, "of", check.of.as_ref())?;
                let to = self.needed(&check, "to", check.to.as_ref())?;
                CheckKind::Ratio {
                    of: self.one("checks.of", of, &[common(&check), of.get_ref()])?,
                    to: self.one("checks.to", to, &[common(&check), to.get_ref()])?,
                    limits: self.limits(&check)?,
                }
            }
        };
        Ok(Check {
            id: check.id.into_inner(),
            what: check.what,
            metric,
            published: check.published,
            kind,
        })
    }

    fn order(&self, check: &CheckText) -> Result<CheckKind, SpecError> {
        let over = self.needed(check, "over", check.over.as_ref())?;
        let values = self.needed(check, "values", check.values.as_ref())?;
        if values.get_ref().len() < 2 {
            return Err(self.error(values, "checks.values", "expected at least two values"));
        }
        let run = |value: &Value| {
            let along = Values::from([(over.clone(), value.clone())]);
            self.one("checks.over", over, &[common(check), &along])
        };
        let runs = values.get_ref().iter().map(run);
        Ok(CheckKind::Order {
            runs: runs.collect::<Result<_, _>>()?,
        })
    }

    fn flat(&self, check: &CheckText) -> Result<CheckKind, SpecError> {
        let over = self.needed(check, "over", check.over.as_ref())?;
        let run = |value: &Value| {
            let along = Values::from([(over.clone(), value.clone())]);
            self.one("checks.over", over, &[common(check), &along])
        };
        let runs = self.along(over, "checks.over")?.values.iter().map(run);
        Ok(CheckKind::Flat {
            runs: runs.collect::<Result<_, _>>()?,
            low: *self.needed(check, "low", check.low.as_ref())?.get_ref(),
        })
    }

    fn difference(&self, check: &CheckText, metric: &Metric) -> Result<CheckKind, SpecError> {
        let of = self.needed(check, "of", check.of.as_ref())?;
        let to = self.needed(check, "to", check.to.as_ref())?;
        let side = self.needed(check, "side", check.side.as_ref())?;
        let at_least = check.at_least.as_ref();
        if let Some(share) = at_least.filter(|share| !share.get_ref().is_finite()) {
            return Err(self.error(share, "checks.at_least", "expected a number"));
        }
        Ok(CheckKind::Difference {
            of: self.one("checks.of", of, &[common(check), of.get_ref()])?,
            to: self.one("checks.to", to, &[common(check), to.get_ref()])?,
            minus: match &check.minus {
                Some(minus) => self.metric(minus, "checks.minus")?,
                None => metric.clone(),
            },
            side: match side.get_ref().as_str() {
                "below" => Side::Below,
                "above" => Side::Above,
                other => {
                    let message = format!("expected \"below\" or \"above\", found \"{other}\"");
                    return Err(self.error(side, "checks.side", message));
                }
            },
            at_least: at_least.map_or(0.0, |share| *share.get_ref()),
        })
    }

    fn limits(&self, check: &CheckText) -> Result<Limits, SpecError> {
        let low = *self.needed(check, "low", check.low.as_ref())?.get_ref();
        let high = self.needed(check, "high", check.high.as_ref())?;
        let limits = Limits {
            low,
            high: *high.get_ref(),
        };
        if limits.low <= limits.high {
            return Ok(limits);
        }
        let message = format!("expected at least `low` ({low}), found {}", limits.high);
        Err(self.error(high, "checks.high", message))
    }

    fn needed<'b, T>(
        &self,
        check: &CheckText,
        key: &str,
        value: Option<&'b Spanned<T>>,
    ) -> Result<&'b Spanned<T>, SpecError> {
        value.ok_or_else(|| {
            let message = format!("a check of kind \"{}\" needs it", check.kind.get_ref());
            self.error(&check.kind, &format!("checks.{key}"), message)
        })
    }
}

/// What the runs of a check have in common.
fn common(check: &CheckText) -> &Values {
    static NOTHING: Values = Values::new();
    check.at.as_ref().map_or(&NOTHING, |at| at.get_ref())
}

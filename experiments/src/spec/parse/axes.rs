//! Axes: values of one setting, or names for settings that go together.

use super::{Parser, RUNS_MAX};
use crate::spec::text::{AxisText, ChoiceText, SpecText};
use crate::spec::{Axis, Key, Part, Setting, SpecError, Value};
use toml::Spanned;

impl Axis {
    /// True if each of its values sets `key`.
    pub(super) fn always_sets(&self, key: &Key) -> bool {
        let sets = |settings: &Vec<Setting>| settings.iter().any(|setting| setting.key == *key);
        self.key.as_ref() == Some(key) || self.settings.iter().all(sets)
    }
}

impl Axis {
    /// True if any of its values sets `key`.
    pub(super) fn sets(&self, key: &Key) -> bool {
        let mut settings = self.settings.iter().flatten();
        self.key.as_ref() == Some(key) || settings.any(|setting| setting.key == *key)
    }
}

impl Parser<'_> {
    pub(super) fn axes(&mut self, written: &SpecText) -> Result<(), SpecError> {
        for axis in &written.axes {
            let (at, axis) = self.one_axis(axis)?;
            self.axis(axis, at)?;
        }
        if let Some(policies) = &written.policies {
            let key = Key {
                part: Part::Policy,
                path: Vec::new(),
            };
            let line = self.line(policies);
            let values = policies.get_ref().clone();
            self.axis(
                of_values("policy".to_string(), key, values, line),
                "policies",
            )?;
        }
        Ok(())
    }

    /// An axis, and where errors about its values are.
    fn one_axis(&self, axis: &AxisText) -> Result<(&'static str, Axis), SpecError> {
        let name = axis.name.as_ref().map(|name| name.get_ref().clone());
        match (&axis.key, &axis.values, &axis.choices) {
            (Some(key), Some(values), None) => {
                let key = self.key(key, "axes.key")?;
                let last = key.to_string();
                let last = last.rsplit('.').next().unwrap_or(&last).to_string();
                let (line, values) = (self.line(values), values.get_ref().clone());
                let axis = of_values(name.unwrap_or(last), key, values, line);
                Ok(("axes.values", axis))
            }
            (None, None, Some(choices)) => {
                let Some(name) = name else {
                    let message = "an axis of choices has no key that it could be named by";
                    return Err(self.error(choices, "axes.name", message));
                };
                Ok(("axes.choices", self.of_choices(name, choices)?))
            }
            _ => {
                let message = "expected `key` and `values`, or `name` and `choices`";
                let line = [
                    axis.key.as_ref().map(|at| self.line(at)),
                    axis.name.as_ref().map(|at| self.line(at)),
                    axis.values.as_ref().map(|at| self.line(at)),
                    axis.choices.as_ref().map(|at| self.line(at)),
                ];
                Err(SpecError {
                    line: line.into_iter().flatten().next(),
                    key: "axes".to_string(),
                    message: message.to_string(),
                })
            }
        }
    }

    fn of_choices(
        &self,
        name: String,
        choices: &Spanned<Vec<ChoiceText>>,
    ) -> Result<Axis, SpecError> {
        let mut settings = Vec::new();
        for choice in choices.get_ref() {
            let set = choice.set.iter().map(|(key, value)| {
                Ok(Setting {
                    key: self.key(key, "axes.choices.set")?,
                    value: value.clone(),
                    line: self.line(key),
                })
            });
            settings.push(set.collect::<Result<Vec<_>, SpecError>>()?);
        }
        let names = choices.get_ref().iter();
        Ok(Axis {
            name,
            key: None,
            values: names
                .map(|choice| Value::Text(choice.name.clone()))
                .collect(),
            settings,
            line: self.line(choices),
        })
    }

    /// Takes an axis; `whose` are its values.
    fn axis(&mut self, axis: Axis, whose: &str) -> Result<(), SpecError> {
        let line = axis.line;
        if axis.values.is_empty() {
            return Err(SpecError::new(line, whose, "expected at least one value"));
        }
        let labels: Vec<_> = axis.values.iter().map(Value::to_string).collect();
        let again = (1..labels.len()).find(|&i| labels[..i].contains(&labels[i]));
        if let Some(again) = again {
            let message = format!("{} is there twice", labels[again]);
            return Err(SpecError::new(line, whose, message));
        }
        for other in &self.axes {
            let keys = |axis: &Axis| -> Vec<Key> {
                let set = axis
                    .settings
                    .iter()
                    .flatten()
                    .map(|setting| setting.key.clone());
                set.chain(axis.key.clone()).collect()
            };
            let others = keys(other);
            let both = keys(&axis).into_iter().find(|key| others.contains(key));
            if both.is_some() || other.name == axis.name {
                let both = both.map_or_else(String::new, |key| key.to_string());
                let name = &axis.name;
                let message =
                    format!("there are two axes \"{name}\" or two of the setting \"{both}\"");
                return Err(SpecError::new(line, whose, message));
            }
        }
        self.axes.push(axis);
        let runs = self
            .axes
            .iter()
            .try_fold(1_usize, |runs, axis| runs.checked_mul(axis.values.len()));
        if runs.is_none_or(|runs| runs > RUNS_MAX) {
            let message = format!("the axes make more than {RUNS_MAX} runs");
            return Err(SpecError::new(line, whose, message));
        }
        Ok(())
    }
}

/// Values of one setting.
fn of_values(name: String, key: Key, values: Vec<Value>, line: usize) -> Axis {
    let set = |value: &Value| {
        let key = key.clone();
        let value = value.clone();
        let fitted = value.is_fitted();
        let setting = Setting { key, value, line };
        Some(setting).filter(|_| !fitted).into_iter().collect()
    };
    Axis {
        settings: values.iter().map(set).collect(),
        name,
        key: Some(key),
        values,
        line,
    }
}

//! A knob with the values that it may be set to, as typed: `KEY=LOW..HIGH` or `KEY=a,b,c`.
//!
//! Values of a range have three significant digits: what is found can be typed, and does not depend on the last bits of
//! a logarithm.

use super::Knob;
use crate::execute::Job;
use crate::spec::Value;
use std::fmt;
use std::str::FromStr;

/// How a range is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// By differences.
    Linear,
    /// By quotients.
    Log,
}

/// The values that a knob may have.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    /// Numbers from `low` to `high`, both included.
    Range {
        /// The smallest.
        low: f64,
        /// The largest.
        high: f64,
        /// How it is walked.
        scale: Scale,
        /// True: whole numbers only.
        whole: bool,
    },
    /// One of these.
    Choices(Vec<Value>),
}

/// A knob and what it may be set to.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// What is set.
    pub knob: Knob,
    /// To what.
    pub domain: Domain,
}

impl Domain {
    /// The value at a place from 0 to 1.
    #[must_use]
    pub fn at(&self, place: f64) -> Value {
        match self {
            Self::Choices(choices) => {
                let index = (place * choices.len() as f64) as usize;
                choices[index.min(choices.len() - 1)].clone()
            }
            Self::Range {
                low,
                high,
                scale,
                whole,
            } => {
                let value = match scale {
                    // Every whole number has an equal part of the way.
                    Scale::Linear if *whole => low + ((high - low + 1.0) * place).floor(),
                    Scale::Linear => low + (high - low) * place,
                    Scale::Log => low * libm::pow(high / low, place),
                };
                self.value(value)
            }
        }
    }

    /// A number as a value of this range: whole, or with three significant digits, and within it.
    #[must_use]
    pub fn value(&self, number: f64) -> Value {
        match self {
            Self::Range {
                low,
                high,
                whole: true,
                ..
            } => Value::Whole(number.round().clamp(*low, *high) as i64),
            Self::Range { low, high, .. } => {
                let rounded: f64 = format!("{number:.2e}").parse().expect("a number");
                Value::Number(rounded.clamp(*low, *high))
            }
            Self::Choices(choices) => choices[0].clone(),
        }
    }

    /// Where a value lies, from 0 to 1, if it is in the range.
    #[must_use]
    pub fn place(&self, value: &Value) -> Option<f64> {
        match self {
            Self::Range {
                low, high, scale, ..
            } => {
                let number = value.number().filter(|n| (*low..=*high).contains(n))?;
                Some(match scale {
                    Scale::Linear => (number - low) / (high - low),
                    Scale::Log => libm::log(number / low) / libm::log(high / low),
                })
            }
            Self::Choices(_) => None,
        }
    }

    /// A number as a value of this range, to the last digit.
    #[must_use]
    pub fn exactly(&self, number: f64) -> Value {
        match self {
            Self::Range { whole: true, .. } => self.value(number),
            _ => Value::Number(number),
        }
    }

    /// How many values it has, if that is a number that can be counted to.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::Choices(choices) => Some(choices.len() as u64),
            Self::Range {
                low,
                high,
                whole: true,
                ..
            } => Some((high - low) as u64 + 1),
            Self::Range { .. } => None,
        }
    }
}

impl Param {
    /// Checks both ends, or every choice, in a job. A range between whole numbers of a key that takes no others is one
    /// of whole numbers.
    ///
    /// # Errors
    /// If a value is refused; one line that names the key.
    pub fn checked(mut self, job: &Job) -> Result<Self, String> {
        let takes = |value: &Value| self.knob.set(&mut job.clone(), value);
        match &mut self.domain {
            Domain::Choices(choices) => choices.iter().try_for_each(takes)?,
            Domain::Range {
                low, high, whole, ..
            } => {
                let ends_whole = low.fract().abs() + high.fract().abs() <= 0.0;
                let fraction = Value::Number(*low + (*high - *low) * 0.437_219);
                if !*whole && ends_whole && takes(&fraction).is_err() {
                    *whole = takes(&Value::Whole(*low as i64)).is_ok();
                }
                if *whole && !ends_whole {
                    return Err(format!(
                        "`{}`: expected whole numbers as its ends",
                        self.knob
                    ));
                }
                for end in [*low, *high] {
                    takes(&match whole {
                        true => Value::Whole(end as i64),
                        false => Value::Number(end),
                    })?;
                }
            }
        }
        Ok(self)
    }
}

impl FromStr for Param {
    type Err = String;

    /// `KEY=LOW..HIGH`, with `:log` or `:int` behind it, or `KEY=a,b,c`.
    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("expected KEY=LOW..HIGH (:log, :int) or KEY=a,b,c, found \"{text}\"");
        let (knob, domain) = text.split_once('=').ok_or_else(form)?;
        let knob: Knob = knob.trim().parse()?;
        let Some((low, rest)) = domain.split_once("..") else {
            let choices: Vec<Value> = domain.split(',').map(|one| plain(one.trim())).collect();
            let twice = choices
                .iter()
                .enumerate()
                .any(|(i, one)| choices[..i].contains(one));
            if twice || choices.iter().any(|one| one.to_string().is_empty()) {
                return Err(format!(
                    "`{knob}`: expected choices that differ, found \"{domain}\""
                ));
            }
            return Ok(Self {
                knob,
                domain: Domain::Choices(choices),
            });
        };
        let mut parts = rest.split(':');
        let high = parts.next().unwrap_or("");
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.abs() <= 1e15);
        let (Some(low), Some(high)) = (number(low), number(high)) else {
            return Err(form());
        };
        let (mut scale, mut whole) = (Scale::Linear, matches!(knob, Knob::Split | Knob::Nodes));
        for part in parts {
            match part {
                "log" => scale = Scale::Log,
                "int" => whole = true,
                _ => return Err(form()),
            }
        }
        if low >= high || low.is_nan() || (scale == Scale::Log && low <= 0.0) {
            let above = if scale == Scale::Log {
                ", LOW above 0"
            } else {
                ""
            };
            return Err(format!(
                "`{knob}`: expected LOW below HIGH{above}, found {domain}"
            ));
        }
        Ok(Self {
            knob,
            domain: Domain::Range {
                low,
                high,
                scale,
                whole,
            },
        })
    }
}

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.knob)?;
        match &self.domain {
            Domain::Choices(choices) => {
                let choices: Vec<String> = choices.iter().map(Value::to_string).collect();
                f.write_str(&choices.join(","))
            }
            Domain::Range {
                low,
                high,
                scale,
                whole,
            } => {
                write!(f, "{low}..{high}")?;
                f.write_str(if *scale == Scale::Log { ":log" } else { "" })?;
                f.write_str(if *whole { ":int" } else { "" })
            }
        }
    }
}

/// A choice as typed: a flag, a number or a name.
fn plain(text: &str) -> Value {
    match (text.parse(), text.parse(), text.parse::<f64>()) {
        (Ok(flag), _, _) => Value::Flag(flag),
        (_, Ok(whole), _) => Value::Whole(whole),
        (_, _, Ok(number)) if number.is_finite() => Value::Number(number),
        _ => Value::Text(text.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::job;
    use super::*;

    fn param(text: &str, job: &Job) -> Result<Param, String> {
        text.parse::<Param>()?.checked(job)
    }

    #[test]
    fn ranges_know_whether_they_are_whole() {
        let job = job("8p8d", "kvcache-centric");
        let found = param("cluster.nodes.cache_tokens=100000..3000000:log", &job).expect("a range");
        let Domain::Range { whole: true, .. } = found.domain else {
            panic!("{found:?}")
        };
        assert_eq!(found.domain.at(0.0), Value::Whole(100_000));
        let found = param("policy.prefill.balancing_threshold=1..3", &job).expect("a range");
        assert_eq!(found.domain.at(0.123_456), Value::Number(1.25));
        assert_eq!(
            (found.domain.count(), found.domain.at(1.0)),
            (None, Value::Number(3.0))
        );
        let found = param("policy.eviction.select=lru,lfu", &job).expect("choices");
        assert_eq!(found.domain.at(0.6), Value::Text("lfu".into()));
        assert_eq!(found.to_string(), "policy.eviction.select=lru,lfu");
        let found = param("split=4..12", &job).expect("a range");
        assert_eq!(
            (found.domain.count(), found.to_string()),
            (Some(9), "split=4..12:int".to_string())
        );
    }

    #[test]
    fn bad_ones_are_refused_in_one_line() {
        let job = job("8p8d", "random");
        for (text, expected) in [
            ("speed", "expected KEY=LOW..HIGH"),
            (
                "speed=1..2",
                "expected split, nodes, or a key below workload",
            ),
            ("seed=1..2", "expected split, nodes, or a key"),
            ("split=0..4", "`split`: expected a whole number, found 0"),
            ("split=4..16", "`split`: expected 1 to 15, found 16"),
            (
                "policy.slo.ttft_s=0..5:log",
                "expected LOW below HIGH, LOW above 0",
            ),
            ("policy.slo.ttft_s=5..5", "expected LOW below HIGH"),
            ("policy.slo.ttft_s=1..5:lin", "expected KEY=LOW..HIGH"),
            ("policy.slo.ttft_s=nan..5", "expected KEY=LOW..HIGH"),
            (
                "policy.prefill.balancing_threshold=1..2",
                "has no meaning for prefill policy \"random\"",
            ),
            ("policy.eviction.select=lru,fifo", "unknown variant `fifo`"),
            (
                "policy.eviction.select=lru,lru",
                "expected choices that differ",
            ),
            (
                "cluster.nodes.count=1.5..4:int",
                "expected whole numbers as its ends",
            ),
            ("workload.sped=1..2", "unknown key"),
        ] {
            let error = param(text, &job).expect_err(text);
            assert!(
                error.contains(expected) && !error.contains('\n'),
                "{text}: {error}"
            );
        }
    }
}

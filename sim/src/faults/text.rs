//! A fault plan as a person writes it, checked in one place.
//!
//! ```toml
//! detect_s = 1            # how long after a crash the Conductor hears of it
//! patience_s = 5          # how long a transfer waits for a cut link
//! resync_s = 1            # how long after a gap in its reports a node reports its whole cache
//!
//! [cancel]                # clients that go
//! share = 0.01
//! within_s = 30
//!
//! [draw]                  # faults drawn from the run's seed, besides those of the script
//! kinds = ["crash", "slow", "link", "cut", "lose-reports", "delay-reports", "restart-conductor"]
//! until_s = 600
//! gap_s = 30              # mean time between beginnings
//! length_s = 10           # mean length
//!
//! [[faults]]
//! kind = "crash"
//! at_s = 10
//! for_s = 20
//! node = 3
//! ```
//!
//! Keys of a fault: all have `kind` and `at_s`; all but `restart-conductor` and `cancel` have `for_s` and `node`;
//! `slow` has `factor` (1 to 1024), `link` has `part` (0 to 1), `lose-reports` and `delay-reports` have `share` (0 to
//! 1), the latter also `by_s`; `cancel` has `request`.

use super::draw::DrawText;
use super::{Cancellations, Fault, FaultKind, FaultPlan};
use conductor_core::config::Ratio;
use conductor_core::cost::Factor;
use conductor_core::ids::{NodeId, RequestId};
use conductor_core::units::Nanos;
use serde::{Deserialize, Serialize};

/// The longest time that can be asked for, in seconds: a year.
const SECONDS_MAX: f64 = 31_536_000.0;

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultsText {
    /// See [`FaultPlan::detect`]; 1 by default.
    pub detect_s: Option<f64>,
    /// See [`FaultPlan::patience`]; 5 by default.
    pub patience_s: Option<f64>,
    /// See [`FaultPlan::resync`]; 1 by default.
    pub resync_s: Option<f64>,
    /// `[cancel]`
    pub cancel: Option<CancelText>,
    /// `[draw]`
    pub draw: Option<DrawText>,
    /// `[[faults]]`
    pub faults: Vec<FaultText>,
}

/// `[cancel]`
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelText {
    /// Part of all requests, 0 to 1, in thousandths.
    pub share: f64,
    /// Seconds from the arrival.
    pub within_s: f64,
}

/// One of `[[faults]]`; which keys it has depends on its kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultText {
    /// What goes wrong.
    pub kind: String,
    /// When, in seconds.
    pub at_s: f64,
    /// For how many seconds.
    pub for_s: Option<f64>,
    /// Which node.
    pub node: Option<u64>,
    /// So many times as long.
    pub factor: Option<f64>,
    /// Part of a link that is left.
    pub part: Option<f64>,
    /// Part of the reports.
    pub share: Option<f64>,
    /// Seconds by which reports are late.
    pub by_s: Option<f64>,
    /// Which request, by its number.
    pub request: Option<u64>,
}

/// Why a fault plan is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultError {
    /// Line in the text, from 1, if it is known.
    pub line: Option<usize>,
    /// What was found and what was expected.
    pub message: String,
}

impl std::fmt::Display for FaultError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for FaultError {}

pub(super) fn error(message: String) -> FaultError {
    FaultError {
        line: None,
        // What was found may have line ends in it; one line is what a person gets.
        message: message.replace(['\n', '\r'], " "),
    }
}

pub(super) fn seconds(key: &str, value: f64) -> Result<Nanos, FaultError> {
    let time = Nanos::from_secs_f64(value).filter(|_| value <= SECONDS_MAX);
    time.ok_or_else(|| {
        error(format!(
            "`{key}`: expected seconds from 0 to a year, found {value}"
        ))
    })
}

fn part(key: &str, value: f64) -> Result<Ratio, FaultError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(Ratio((value * 1000.0 + 0.5) as u32));
    }
    Err(error(format!(
        "`{key}`: expected a part from 0 to 1, found {value}"
    )))
}

/// A key that the fault's kind needs.
fn need<T>(kind: &str, key: &str, value: Option<T>) -> Result<T, FaultError> {
    value.ok_or_else(|| error(format!("`{key}`: a fault of kind \"{kind}\" needs it")))
}

impl FaultText {
    /// The keys that it has besides `kind` and `at_s`.
    fn keys(&self) -> impl Iterator<Item = &'static str> + use<> {
        let all = [
            ("for_s", self.for_s.is_some()),
            ("node", self.node.is_some()),
            ("factor", self.factor.is_some()),
            ("part", self.part.is_some()),
            ("share", self.share.is_some()),
            ("by_s", self.by_s.is_some()),
            ("request", self.request.is_some()),
        ];
        all.into_iter()
            .filter(|(_, there)| *there)
            .map(|(key, _)| key)
    }

    fn check(&self, nodes: usize) -> Result<Fault, FaultError> {
        let name = &self.kind[..];
        let known: &[&str] = match name {
            "crash" => &["for_s", "node"],
            "slow" => &["for_s", "node", "factor"],
            "link" => &["for_s", "node", "part"],
            "lose-reports" => &["for_s", "node", "share"],
            "delay-reports" => &["for_s", "node", "share", "by_s"],
            "restart-conductor" => &[],
            "cancel" => &["request"],
            _ => {
                return Err(error(format!(
                    "`kind`: expected one of: crash, slow, link, lose-reports, delay-reports, \
                     restart-conductor, cancel, found \"{name}\""
                )));
            }
        };
        if let Some(key) = self.keys().find(|key| !known.contains(key)) {
            return Err(error(format!(
                "`{key}`: a fault of kind \"{name}\" has none"
            )));
        }
        let node = || {
            let node = need(name, "node", self.node)?;
            match u16::try_from(node) {
                Ok(small) if usize::from(small) < nodes => Ok(NodeId(small)),
                _ => Err(error(format!(
                    "`node`: expected a node of the cluster, 0 to {}, found {node}",
                    nodes - 1
                ))),
            }
        };
        let share = || part("share", need(name, "share", self.share)?);
        let kind = match name {
            "crash" => FaultKind::Crash { node: node()? },
            "slow" => {
                let factor = need(name, "factor", self.factor)?;
                let checked = Factor::from_f64(factor).filter(|_| factor >= 1.0);
                FaultKind::Slow {
                    node: node()?,
                    factor: checked.ok_or_else(|| {
                        error(format!("`factor`: expected 1 to 1024, found {factor}"))
                    })?,
                }
            }
            "link" => FaultKind::Link {
                node: node()?,
                part: part("part", need(name, "part", self.part)?)?,
            },
            "lose-reports" => FaultKind::LoseReports {
                node: node()?,
                share: share()?,
            },
            "delay-reports" => FaultKind::DelayReports {
                node: node()?,
                share: share()?,
                by: seconds("by_s", need(name, "by_s", self.by_s)?)?,
            },
            "cancel" => FaultKind::Cancel {
                request: RequestId(need(name, "request", self.request)?),
            },
            _ => FaultKind::RestartConductor,
        };
        let lasts = match known.contains(&"for_s") {
            true => seconds("for_s", need(name, "for_s", self.for_s)?)?,
            false => Nanos::ZERO,
        };
        Ok(Fault {
            at: seconds("at_s", self.at_s)?,
            lasts,
            kind,
        })
    }
}

impl FaultPlan {
    /// Parses a plan for a cluster of `nodes`; `seed` feeds what is to be drawn.
    ///
    /// # Errors
    /// Names line and key.
    pub fn parse(text: &str, nodes: usize, seed: u64) -> Result<Self, FaultError> {
        let parsed: FaultsText = toml::from_str(text).map_err(|found| FaultError {
            line: found
                .span()
                .map(|span| 1 + text[..span.start].matches('\n').count()),
            message: found.message().lines().collect::<Vec<_>>().join(", "),
        })?;
        let mut sections = (1..)
            .zip(text.lines())
            .filter(|(_, line)| line.trim() == "[[faults]]");
        let mut plan = Self::from_text(&parsed, nodes, || sections.next().map(|(line, _)| line))?;
        if let Some(draw) = &parsed.draw {
            draw.draw(nodes, seed, &mut plan.faults)?;
        }
        Ok(plan)
    }

    /// Checks the script; `line` says where the next fault stands.
    fn from_text(
        text: &FaultsText,
        nodes: usize,
        mut line: impl FnMut() -> Option<usize>,
    ) -> Result<Self, FaultError> {
        let default = Self::default();
        let time =
            |key, value: Option<f64>, default| value.map_or(Ok(default), |s| seconds(key, s));
        let mut plan = Self {
            detect: time("detect_s", text.detect_s, default.detect)?,
            patience: time("patience_s", text.patience_s, default.patience)?,
            resync: time("resync_s", text.resync_s, default.resync)?,
            ..default
        };
        if plan.patience.is_zero() {
            return Err(error("`patience_s`: expected more than 0".to_string()));
        }
        if let Some(cancel) = &text.cancel {
            plan.cancel = Some(Cancellations {
                share: part("share", cancel.share)?,
                within: seconds("within_s", cancel.within_s)?,
            });
        }
        for (i, fault) in text.faults.iter().enumerate() {
            let line = line();
            let checked = fault.check(nodes).map_err(|found| FaultError {
                line,
                message: format!("fault {}: {}", i + 1, found.message),
            })?;
            plan.faults.push(checked);
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_understood() {
        let text = "detect_s = 0.5\n[cancel]\nshare = 0.25\nwithin_s = 2\n\
             [[faults]]\nkind = \"crash\"\nat_s = 1\nfor_s = 2\nnode = 1\n\
             [[faults]]\nkind = \"slow\"\nat_s = 1.5\nfor_s = 2\nnode = 0\nfactor = 3\n\
             [[faults]]\nkind = \"restart-conductor\"\nat_s = 4\n";
        let plan = FaultPlan::parse(text, 2, 1).expect("it is valid");
        assert_eq!(plan.faults.len(), 3);
        assert_eq!(plan.faults[0].kind, FaultKind::Crash { node: NodeId(1) });
        assert_eq!(
            (plan.detect, plan.healed()),
            (Nanos::from_millis(500), Nanos::from_secs(4))
        );
        assert_eq!(plan.cancel.map(|cancel| cancel.share), Some(Ratio(250)));
        assert_eq!(FaultPlan::parse("", 2, 1), Ok(FaultPlan::default()));
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        let head = "[[faults]]\nkind = \"crash\"\nat_s = 1\nfor_s = 2\nnode = 1\n\n[[faults]]\n";
        for (text, expected) in [
            (
                "kind = \"crash\"\nat_s = 1\nnode = 1",
                "line 7: fault 2: `for_s`: a fault of kind \"crash\" needs it",
            ),
            (
                "kind = \"crash\"\nat_s = 1\nfor_s = 1\nnode = 2",
                "line 7: fault 2: `node`: expected a node of the cluster, 0 to 1, found 2",
            ),
            (
                "kind = \"link\"\nat_s = 1\nfor_s = 1\nnode = 0\npart = 2",
                "line 7: fault 2: `part`: expected a part from 0 to 1, found 2",
            ),
            (
                "kind = \"slow\"\nat_s = 1\nfor_s = 1\nnode = 0\nfactor = 0.5",
                "line 7: fault 2: `factor`: expected 1 to 1024, found 0.5",
            ),
            (
                "kind = \"cancel\"\nat_s = 1\nrequest = 3\nnode = 0",
                "line 7: fault 2: `node`: a fault of kind \"cancel\" has none",
            ),
            (
                "kind = \"crash\"\nat_s = -1\nfor_s = 1\nnode = 0",
                "line 7: fault 2: `at_s`: expected seconds from 0 to a year, found -1",
            ),
            (
                "kind = \"fire\"\nat_s = 1",
                "line 7: fault 2: `kind`: expected one of: crash, slow, link, lose-reports, delay-reports, restart-conductor, cancel, found \"fire\"",
            ),
            (
                "kind = \"crash\"\nat = 1",
                "line 9: unknown field `at`, expected one of `kind`, `at_s`, `for_s`, `node`, `factor`, `part`, `share`, `by_s`, `request`",
            ),
        ] {
            let found = FaultPlan::parse(&format!("{head}{text}\n"), 2, 1);
            assert_eq!(found.expect_err(expected).to_string(), expected);
        }
    }
}

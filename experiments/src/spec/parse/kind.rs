//! What kind of runs a specification has, what each needs, and what is watched.

use super::Parser;
use crate::spec::text::{PlotText, SpecText};
use crate::spec::{Part, PlotKind, ReplicasPlot, RunKind, Setting, SpecError};
use crate::watch::Watch;
use conductor_core::units::Nanos;

/// More watched blocks than this cannot be told apart on a plot.
const RANKS_MAX: usize = 8;

impl Parser<'_> {
    pub(super) fn run_kind(&self, written: &SpecText) -> Result<RunKind, SpecError> {
        let Some(kind) = &written.kind else {
            return Ok(RunKind::Simulation);
        };
        match kind.get_ref().as_str() {
            "simulation" => Ok(RunKind::Simulation),
            "pool" => match &written.fit {
                Some(fit) => {
                    let message = "a pool has nothing to be fitted";
                    Err(self.error(&fit.key, "fit", message))
                }
                None => Ok(RunKind::Pool),
            },
            other => {
                let message = format!("expected simulation or pool, found \"{other}\"");
                Err(self.error(kind, "kind", message))
            }
        }
    }

    /// Every run needs its parts, from the base or from an axis; what belongs to runs of the other kind is refused.
    pub(super) fn parts(&self, base: &[Setting], kind: RunKind) -> Result<(), SpecError> {
        let of_axes = self.axes.iter().flat_map(|axis| {
            let bundled = axis.settings.iter().flatten().map(|setting| &setting.key);
            axis.key.iter().chain(bundled).map(|key| (key, axis.line))
        });
        let settings = base.iter().map(|setting| (&setting.key, setting.line));
        let all: Vec<_> = settings.chain(of_axes).collect();
        let workload = "a table [workload] with a name, or an axis";
        let needed: &[_] = match kind {
            RunKind::Simulation => &[
                (Part::Workload, workload),
                (Part::Cluster, "a cluster, or an axis"),
                (Part::Policy, "policies, or an axis"),
            ],
            RunKind::Pool => &[(Part::Workload, workload)],
        };
        for (part, expected) in needed {
            let key = crate::spec::Key {
                part: *part,
                path: Vec::new(),
            };
            let set = base.iter().any(|setting| setting.key == key);
            if !set && !self.axes.iter().any(|axis| axis.always_sets(&key)) {
                return Err(SpecError {
                    line: None,
                    key: key.to_string(),
                    message: format!("expected {expected}"),
                });
            }
        }
        let stray = |part: Part| match kind {
            RunKind::Simulation => part == Part::Pool,
            RunKind::Pool => !matches!(part, Part::Pool | Part::Workload | Part::Seed),
        };
        match all.iter().find(|(key, _)| stray(key.part)) {
            None => Ok(()),
            Some((key, line)) => {
                let message = match kind {
                    RunKind::Simulation => "only runs of `kind = \"pool\"` have it",
                    RunKind::Pool => "runs of `kind = \"pool\"` do not have it",
                };
                Err(SpecError::new(*line, &key.to_string(), message))
            }
        }
    }

    pub(super) fn watch(&self, written: &SpecText) -> Result<Option<Watch>, SpecError> {
        let Some(watch) = &written.watch else {
            return Ok(None);
        };
        let ranks = watch.ranks.get_ref();
        let fits = ranks
            .iter()
            .all(|&rank| (1..=u64::from(u32::MAX)).contains(&rank));
        if ranks.is_empty() || ranks.len() > RANKS_MAX || !fits {
            let message = format!("expected 1 to {RANKS_MAX} ranks, each from 1");
            return Err(self.error(&watch.ranks, "watch.ranks", message));
        }
        let period = *watch.period_s.get_ref();
        if !(1..=86_400).contains(&period) {
            let message = format!("expected whole seconds from 1 to 86400, found {period}");
            return Err(self.error(&watch.period_s, "watch.period_s", message));
        }
        Ok(Some(Watch {
            ranks: ranks.clone(),
            period: Nanos::from_secs(period),
        }))
    }

    pub(super) fn replicas(&self, plot: &PlotText) -> Result<PlotKind, SpecError> {
        if self.watched == 0 {
            let message = "a plot of kind \"replicas\" needs [watch]";
            return Err(self.error(&plot.kind, "plots.kind", message));
        }
        Ok(PlotKind::Replicas(ReplicasPlot {
            panels: self.panels(plot)?,
            published: super::plot::published(plot),
        }))
    }
}

//! `conductor capacity`: how much a cluster carries within limits, for one or several side by side.
//!
//! Not here: the search (`conductor_experiments::capacity`), and how answers are shown ([`answer`]).

mod answer;

use super::replay;
use crate::args::CapacityArgs;
use crate::failure::Failure;
use crate::{progress, render};
use answer::Answers;
use conductor_experiments::capacity::{Effort, Goal, Question, find};
use conductor_experiments::confidence::Rule;
use conductor_experiments::execute::Job;
use conductor_experiments::knob::{Domain, Knob, Param};
use conductor_experiments::metric::Metric;
use conductor_experiments::parallel::in_parallel;
use conductor_experiments::search::{Bound, Condition, Line, Seek};
use std::sync::Mutex;

pub(crate) fn run(args: &CapacityArgs) -> Result<(), Failure> {
    let conditions = conditions(args)?;
    let rule = rule(args)?;
    let (line, goal) = (speeds(args)?, asked(args));
    together(args, &goal)?;
    let one = [args.world.cluster.clone()];
    let clusters = if args.clusters.is_empty() {
        &one[..]
    } else {
        &args.clusters
    };
    let mut questions: Vec<(Job, Goal)> = Vec::new();
    for cluster in clusters {
        let mut world = args.world.clone();
        world.cluster.clone_from(cluster);
        let job = replay::job(&world, &args.policy)?;
        let goal = goal_of(args, &goal, line, &job)?;
        questions.push((job, goal));
    }
    let threads = args.jobs.map_or_else(replay::processors, usize::from);
    let beside = threads.min(questions.len());
    let bar = progress::tries("capacity");
    let efforts = Mutex::new(vec![Effort { done: 0, left: 0 }; questions.len()]);
    let found = in_parallel(questions.len(), beside, |place| {
        let (job, goal) = &questions[place];
        let progress = |effort: Effort| {
            let mut efforts = efforts.lock().expect("no thread panics with it");
            efforts[place] = effort;
            let done: u64 = efforts.iter().map(|effort| effort.done).sum();
            bar.set_length(done + efforts.iter().map(|effort| effort.left).sum::<u64>());
            bar.set_position(done);
        };
        let question = Question {
            job: job.clone(),
            conditions: &conditions,
            rule,
            threads: (threads / beside).max(1),
            progress: &progress,
        };
        find(&question, goal).map_err(Failure::from)
    })?;
    bar.finish_and_clear();
    for (found, (_, goal)) in found.iter().zip(&questions) {
        if found.value.is_none() {
            eprintln!(
                "conductor: warning: {}: the limits do not hold {}",
                found.job.cluster.name,
                nowhere(goal)
            );
        }
    }
    let answers = Answers {
        goal: &questions[0].1,
        found: &found,
        limits: conditions.iter().map(said).collect(),
        rule,
        tolerance: args.tolerance,
        is_trace: args.world.trace.is_some(),
    };
    match args.world.json {
        true => Ok(render::print_json(&answers.json())?),
        false => Ok(render::print(answers.table())?),
    }
}

/// Which of the goals.
enum Asked {
    Speed,
    Setting(Param),
    Nodes,
    Split,
}

fn asked(args: &CapacityArgs) -> Asked {
    match &args.search {
        Some(param) => Asked::Setting(param.clone()),
        None if args.fewest_nodes => Asked::Nodes,
        None if args.best_split => Asked::Split,
        None => Asked::Speed,
    }
}

/// The goal for one cluster.
fn goal_of(args: &CapacityArgs, asked: &Asked, line: Line, job: &Job) -> Result<Goal, Failure> {
    let on_line = |knob, line, seek| Goal::Line { knob, line, seek };
    Ok(match asked {
        Asked::Speed => {
            let speed: Knob = "workload.speed".parse().expect("a knob");
            on_line(speed, line, Seek::Largest)
        }
        Asked::Split => Goal::BestSplit { line },
        Asked::Nodes if args.keep_shares => {
            let low = job.cluster.text().nodes.len() as f64;
            let high = args.most_nodes as f64;
            if high < low {
                let message = format!("--most-nodes: expected at least {low}, one a group");
                return Err(Failure::Input(message));
            }
            let line = Line {
                low,
                high,
                whole: true,
                tolerance: 0.0,
            };
            on_line(Knob::Nodes, line, Seek::Smallest)
        }
        Asked::Nodes => Goal::FewestNodes {
            most: args.most_nodes,
        },
        Asked::Setting(param) => {
            let wrong = |message| Failure::Input(format!("--search: {message}"));
            let Param { knob, domain } = param.clone().checked(job).map_err(wrong)?;
            let seek = match args.smallest {
                true => Seek::Smallest,
                false => Seek::Largest,
            };
            match domain {
                Domain::Range {
                    low, high, whole, ..
                } if low > 0.0 => {
                    let line = Line {
                        low,
                        high,
                        whole,
                        ..line
                    };
                    on_line(knob, line, seek)
                }
                Domain::Range { low, .. } => {
                    return Err(wrong(format!(
                        "`{knob}`: expected LOW above 0, found {low}"
                    )));
                }
                Domain::Choices(_) => {
                    return Err(wrong(format!("`{knob}`: expected a range, LOW..HIGH")));
                }
            }
        }
    })
}

/// What does not go together.
fn together(args: &CapacityArgs, asked: &Asked) -> Result<(), Failure> {
    if args.world.trace.is_some() && args.seeds > 1 {
        return Err(Failure::Input(
            "--seeds: expected 1 with a trace, whose requests are the same for every seed"
                .to_string(),
        ));
    }
    let load = matches!(asked, Asked::Speed | Asked::Split);
    for (option, given, why) in [
        (
            "--out",
            args.world.out.is_some(),
            "no files are written: --json has all there is",
        ),
        (
            "--png and --parquet",
            args.world.formats.png || args.world.formats.parquet,
            "no files are written: --json has all there is",
        ),
        (
            "--concurrency",
            load && args.world.concurrency.is_some(),
            "a closed loop sets its own load",
        ),
        (
            "--speed",
            load && (args.world.speed - 1.0).abs() > 0.0,
            "speed is what is sought: see --low and --high",
        ),
    ] {
        if given {
            return Err(Failure::Input(format!(
                "{option}: expected none with capacity, {why}"
            )));
        }
    }
    Ok(())
}

/// Where nothing holds, in words.
fn nowhere(goal: &Goal) -> String {
    match goal {
        Goal::Line {
            knob,
            line,
            seek: Seek::Largest,
        } if knob.to_string() == "workload.speed" => {
            format!("at the lowest speed, {}: see --low", line.low)
        }
        Goal::Line {
            knob,
            line,
            seek: Seek::Largest,
        } => {
            format!("at the lowest value of {knob}, {}", line.low)
        }
        Goal::Line {
            knob,
            line,
            seek: Seek::Smallest,
        } => {
            format!("at the highest value of {knob}, {}", line.high)
        }
        Goal::FewestNodes { most } => format!("with {most} nodes: see --most-nodes"),
        Goal::BestSplit { line } => {
            format!(
                "with any split at the lowest speed, {}: see --low",
                line.low
            )
        }
    }
}

fn rule(args: &CapacityArgs) -> Result<Rule, Failure> {
    let share = args.reliability;
    if !(0.01..=0.99).contains(&share) {
        return Err(Failure::Input(format!(
            "--reliability: expected a share from 0.01 to 0.99, found {share}"
        )));
    }
    Ok(Rule::new(args.seeds as usize, share))
}

fn conditions(args: &CapacityArgs) -> Result<Vec<Condition>, Failure> {
    let own = args.ttft_p90.is_some() || args.tbt_p90.is_some();
    let effective = if own {
        args.effective
    } else {
        args.effective.or(Some(0.9))
    };
    let wanted = [
        (
            "--ttft-p90",
            "ttft_s.p90",
            args.ttft_p90,
            Bound::AtMost,
            f64::INFINITY,
        ),
        (
            "--tbt-p90",
            "tbt_s.p90",
            args.tbt_p90,
            Bound::AtMost,
            f64::INFINITY,
        ),
        (
            "--effective",
            "effective_ratio",
            effective,
            Bound::AtLeast,
            1.0,
        ),
        (
            "--completed",
            "eventual_ratio",
            Some(args.completed),
            Bound::AtLeast,
            1.0,
        ),
    ];
    let mut conditions = Vec::new();
    for (option, metric, limit, bound, most) in wanted {
        let Some(limit) = limit else { continue };
        if !(limit > 0.0 && limit <= most && limit.is_finite()) {
            let expected = if most > 1.0 {
                "seconds above 0"
            } else {
                "a share above 0, at most 1"
            };
            return Err(Failure::Input(format!(
                "{option}: expected {expected}, found {limit}"
            )));
        }
        let metric = Metric::of_runs(metric).map_err(Failure::Input)?;
        conditions.push(Condition {
            metric,
            limit,
            bound,
        });
    }
    Ok(conditions)
}

/// The speeds between which a load is sought.
fn speeds(args: &CapacityArgs) -> Result<Line, Failure> {
    let wrong = |option: &str, expected: &str, found: f64| {
        Failure::Input(format!("{option}: expected {expected}, found {found}"))
    };
    let (low, high, tolerance) = (args.low, args.high, args.tolerance);
    if !(1e-3..=1e3).contains(&low) {
        return Err(wrong("--low", "a speed from 0.001 to 1000", low));
    }
    if !(high >= low && high <= 1e4) {
        return Err(wrong("--high", "a speed from --low to 10000", high));
    }
    if !(1e-3..=0.5).contains(&tolerance) {
        return Err(wrong("--tolerance", "a share from 0.001 to 0.5", tolerance));
    }
    Ok(Line {
        low,
        high,
        whole: false,
        tolerance,
    })
}

/// A condition in words.
fn said(condition: &Condition) -> String {
    let side = match condition.bound {
        Bound::AtMost => "at most",
        Bound::AtLeast => "at least",
    };
    format!("{} is {side} {}", condition.metric, condition.limit)
}

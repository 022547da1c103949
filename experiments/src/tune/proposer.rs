//! Which values are tried next: the tree-structured Parzen estimator of Bergstra et al. ("Algorithms for
//! hyper-parameter optimization", NIPS 2011), from the crate `tpe`, one estimator a parameter.
//!
//! It takes numbers and choices alike, needs no gradient and stands noise, and a few dozen tries are enough for it to
//! begin to help. The first tries are random, as its authors advise: an estimate of nothing is worth nothing.
//!
//! Proposals come from a seeded generator and from what was told, in the order in which it was told: the caller asks
//! for a batch of a fixed size and tells all of it, however many runs go on at once.

use crate::knob::{Domain, Param};
use crate::spec::Value;
use rand_pcg::Pcg64;
use rand_pcg::rand_core::SeedableRng;
use tpe::TpeOptimizer;
use tpe::density_estimation::DefaultEstimatorBuilder;
use tpe::range::Range;

/// How often a set that was there already is drawn anew.
const ANEW: usize = 64;

/// Proposes values for parameters.
pub(super) struct Proposer<'a> {
    params: &'a [Param],
    estimators: Vec<TpeOptimizer>,
    /// Nothing is ever told to these: what they draw is as good as random.
    unprejudiced: Vec<TpeOptimizer>,
    random: Pcg64,
    /// How many are drawn at random first.
    startup: usize,
    /// Every set so far.
    seen: Vec<Vec<Value>>,
}

/// A set of values, and where each lies in its estimator's range.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Proposal {
    pub(super) values: Vec<Value>,
    places: Vec<f64>,
}

impl<'a> Proposer<'a> {
    pub(super) fn new(params: &'a [Param], seed: u64) -> Self {
        let estimators = || params.iter().map(estimator).collect();
        Self {
            params,
            estimators: estimators(),
            unprejudiced: estimators(),
            random: Pcg64::seed_from_u64(seed),
            startup: 4 + 2 * params.len(),
            seen: Vec::new(),
        }
    }

    /// A set as it is, if each of its values is one that could be proposed.
    pub(super) fn known(&mut self, values: &[Option<Value>]) -> Option<Proposal> {
        let pairs = self.params.iter().zip(values);
        let known = pairs.map(|(param, value)| {
            let value = value.as_ref()?;
            Some((value.clone(), place(&param.domain, value)?))
        });
        let (values, places) = known.collect::<Option<Vec<_>>>()?.into_iter().unzip();
        let proposal = Proposal { values, places };
        self.seen.push(proposal.values.clone());
        Some(proposal)
    }

    /// A set that was not there before; none if there is hardly another.
    pub(super) fn next(&mut self) -> Option<Proposal> {
        let random = self.seen.len() < self.startup;
        for again in 0..ANEW {
            // What keeps drawing the same is not asked for ever.
            let estimators = match random || again >= ANEW / 2 {
                true => &mut self.unprejudiced,
                false => &mut self.estimators,
            };
            let draw = |estimator: &mut TpeOptimizer| {
                let Ok(place) = estimator.ask(&mut self.random);
                place
            };
            let places: Vec<f64> = estimators.iter_mut().map(draw).collect();
            let pairs = self.params.iter().zip(&places);
            let values: Vec<Value> = pairs
                .map(|(param, place)| value(&param.domain, *place))
                .collect();
            if !self.seen.contains(&values) {
                self.seen.push(values.clone());
                return Some(Proposal { values, places });
            }
        }
        None
    }

    /// What came of a set; less is better.
    pub(super) fn tell(&mut self, proposal: &Proposal, badness: f64) {
        for (estimator, place) in self.estimators.iter_mut().zip(&proposal.places) {
            estimator
                .tell(*place, badness)
                .expect("a number for a place in the range");
        }
    }
}

fn estimator(param: &Param) -> TpeOptimizer {
    let (estimator, range): (DefaultEstimatorBuilder, Result<Range, _>) = match &param.domain {
        Domain::Choices(choices) => (
            tpe::histogram_estimator(),
            tpe::categorical_range(choices.len()),
        ),
        Domain::Range { .. } => (tpe::parzen_estimator(), tpe::range(0.0, 1.0)),
    };
    TpeOptimizer::new(estimator, range.expect("from 0 to at least 1"))
}

/// The value at a place of an estimator: choices are numbered, ranges go from 0 to 1.
fn value(domain: &Domain, place: f64) -> Value {
    match domain {
        Domain::Choices(choices) => choices[(place as usize).min(choices.len() - 1)].clone(),
        Domain::Range { .. } => domain.at(place),
    }
}

/// Where a value lies, if it is in the domain.
fn place(domain: &Domain, value: &Value) -> Option<f64> {
    match domain {
        Domain::Choices(choices) => choices
            .iter()
            .position(|one| one == value)
            .map(|at| at as f64),
        // The range's end is not in it.
        Domain::Range { .. } => domain.place(value).map(|place| place.min(1.0 - 1e-9)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(texts: &[&str]) -> Vec<Param> {
        texts.iter().map(|text| text.parse().expect(text)).collect()
    }

    /// The best of `tries` by the distance from what is best, and all that was tried; told what came of them or not.
    fn searched(seed: u64, tries: usize, told: bool) -> (f64, Vec<Vec<Value>>) {
        let params = params(&[
            "policy.prefill.balancing_threshold=1..100:log",
            "policy.admission.threshold=0..1",
            "policy.eviction.select=lru,lfu,length-aware",
        ]);
        let mut proposer = Proposer::new(&params, seed);
        let (mut best, mut all) = (f64::INFINITY, Vec::new());
        for _ in 0..tries {
            let proposal = proposer.next().expect("there are more");
            let [Value::Number(x), Value::Number(y), Value::Text(kind)] = &proposal.values[..]
            else {
                panic!("{proposal:?}")
            };
            let choice = if kind == "lfu" { 0.0 } else { 0.3 };
            let badness = (x.ln() - 20.0_f64.ln()).abs() / 4.6 + (y - 0.3).abs() + choice;
            if told {
                proposer.tell(&proposal, badness);
            }
            best = best.min(badness);
            all.push(proposal.values);
        }
        (best, all)
    }

    #[test]
    fn it_learns_where_random_tries_do_not() {
        let mean = |best: &dyn Fn(u64) -> f64| (0..10).map(best).sum::<f64>() / 10.0;
        let told = mean(&|seed| searched(seed, 60, true).0);
        let untold = mean(&|seed| searched(seed, 60, false).0);
        assert!(
            told < 0.1 && told < untold / 2.0,
            "{told} told, {untold} at random, after 60 tries each"
        );
    }

    #[test]
    fn the_same_seed_proposes_the_same_and_nothing_twice() {
        let (_, tried) = searched(7, 50, true);
        assert_eq!(tried, searched(7, 50, true).1);
        assert_ne!(tried, searched(8, 50, true).1);
        for (i, values) in tried.iter().enumerate() {
            assert!(!tried[..i].contains(values), "{values:?}");
        }
    }

    #[test]
    fn a_small_space_runs_dry() {
        let params = params(&["split=3..5", "policy.eviction.select=lru,lfu"]);
        let mut proposer = Proposer::new(&params, 1);
        let own = [Some(Value::Whole(4)), Some(Value::Text("lru".into()))];
        let known = proposer.known(&own).expect("both are in their domains");
        proposer.tell(&known, 0.0);
        let mut rest = 0;
        while let Some(proposal) = proposer.next() {
            assert_ne!(proposal.values, known.values);
            rest += 1;
        }
        assert_eq!(rest, 5);
        assert_eq!(proposer.known(&[Some(Value::Whole(9)), None]), None);
    }
}

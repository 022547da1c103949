//! Bisection on metrics that are known.

use conductor_experiments::fit::{Bracket, FitError, HALVINGS_MAX, bisect};

const BRACKET: Bracket = Bracket {
    low: 1.0,
    high: 3.0,
    target: 5.0,
    tolerance: 1e-6,
};

#[test]
fn a_monotone_metric_is_met_whether_it_rises_or_falls() {
    let rises = bisect(BRACKET, |x| Ok::<_, FitError>(x * x)).expect("bracketed");
    assert!((rises.value * rises.value - 5.0).abs() <= 1e-6);
    assert!((rises.metric - 5.0).abs() <= 1e-6);
    assert!(rises.evaluations < HALVINGS_MAX);
    let falls = bisect(BRACKET, |x| Ok::<_, FitError>(10.0 / x)).expect("bracketed");
    assert!((falls.value - 2.0).abs() <= 1e-6);
}

#[test]
fn an_end_that_meets_the_target_is_taken_at_once() {
    let low = bisect(BRACKET, |x| Ok::<_, FitError>(5.0 * x)).expect("met");
    assert_eq!(
        (low.evaluations, low.value.to_bits()),
        (1, 1.0_f64.to_bits())
    );
}

#[test]
fn a_target_that_is_not_bracketed_is_refused() {
    let error = bisect(BRACKET, Ok::<_, FitError>).expect_err("1 to 3 does not have 5");
    assert_eq!(
        error.to_string(),
        "the target 5 is not bracketed: the metric is 1 at 1 and 3 at 3"
    );
    let undefined = bisect(BRACKET, |_| Ok::<_, FitError>(f64::NAN));
    assert!(matches!(undefined, Err(FitError::NotBracketed { .. })));
}

#[test]
fn a_metric_that_jumps_over_the_target_is_reported() {
    let jump = |x| Ok::<_, FitError>(if x < 2.0 { 0.0 } else { 10.0 });
    let error = bisect(BRACKET, jump).expect_err("never 5");
    assert!(matches!(error, FitError::Jumps { .. }), "{error}");
}

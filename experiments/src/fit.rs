//! One number, fitted by bisection so that a metric hits a target.
//!
//! A simulated metric is a step function with noise of its own, so bisection is the method: it needs a bracket and a
//! sign, no slope. It does not need the metric to be monotone, but finds only one crossing.

/// Where a number is sought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bracket {
    /// One end.
    pub low: f64,
    /// The other end, above `low`.
    pub high: f64,
    /// What the metric should be.
    pub target: f64,
    /// How far from the target it may be, in the metric's unit; above 0.
    pub tolerance: f64,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fitted {
    /// The number.
    pub value: f64,
    /// The metric there.
    pub metric: f64,
    /// How often the metric was evaluated.
    pub evaluations: u32,
}

/// Why nothing was found.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FitError {
    /// The target is not between the metric's values at the ends.
    #[error(
        "the target {} is not bracketed: the metric is {at_low} at {} and {at_high} at {}",
        bracket.target, bracket.low, bracket.high
    )]
    NotBracketed {
        /// What was asked for.
        bracket: Bracket,
        /// The metric at the low end.
        at_low: f64,
        /// The metric at the high end.
        at_high: f64,
    },
    /// The metric jumps over the target.
    #[error(
        "the metric jumps over the target {}: it is {metric} at {value}, and no number nearby is within {}",
        bracket.target, bracket.tolerance
    )]
    Jumps {
        /// What was asked for.
        bracket: Bracket,
        /// The last number that was tried.
        value: f64,
        /// The metric there.
        metric: f64,
    },
}

/// Halvings before giving up: 2^-32 of the bracket is nearer than any replay speed can be told from another.
pub const HALVINGS_MAX: u32 = 32;

/// Seeks the number.
///
/// # Errors
/// If the target is not bracketed or is jumped over, or `metric` fails.
pub fn bisect<E: From<FitError>>(
    bracket: Bracket,
    mut metric: impl FnMut(f64) -> Result<f64, E>,
) -> Result<Fitted, E> {
    let Bracket {
        mut low,
        mut high,
        target,
        tolerance,
    } = bracket;
    let mut evaluations = 0;
    let mut evaluate = |value: f64| {
        evaluations += 1;
        let metric = metric(value)?;
        let fitted = Fitted {
            value,
            metric,
            evaluations,
        };
        Ok::<_, E>((fitted, (metric - target).abs() <= tolerance))
    };
    let (first, hit) = evaluate(low)?;
    if hit {
        return Ok(first);
    }
    let (mut last, hit) = evaluate(high)?;
    if hit {
        return Ok(last);
    }
    let (at_low, at_high) = (first.metric, last.metric);
    let rises = at_high > at_low;
    let bracketed = at_low.min(at_high) < target && target < at_low.max(at_high);
    if !bracketed {
        let error = FitError::NotBracketed {
            bracket,
            at_low,
            at_high,
        };
        return Err(error.into());
    }
    for _ in 0..HALVINGS_MAX {
        let (middle, hit) = evaluate(f64::midpoint(low, high))?;
        if hit {
            return Ok(middle);
        }
        if (middle.metric < target) == rises {
            low = middle.value;
        } else {
            high = middle.value;
        }
        last = middle;
    }
    let error = FitError::Jumps {
        bracket,
        value: last.value,
        metric: last.metric,
    };
    Err(error.into())
}

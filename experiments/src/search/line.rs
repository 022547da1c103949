//! Values in order, and the place among them where something begins to hold or ends to.
//!
//! From the low end up, twice as far each time, until it changes; then bisection by the quotient. Going up first is
//! cheap: what is small is simulated fast, and the highest value may be far away.

/// Which end is sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The largest value that holds; low ones are expected to.
    Largest,
    /// The smallest value that holds; low ones are expected not to.
    Smallest,
}

/// Where is sought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// The lowest value, above 0.
    pub low: f64,
    /// The highest.
    pub high: f64,
    /// True: whole numbers only, down to the last one.
    pub whole: bool,
    /// Else how far apart, as a share, the answer and what does not hold beside it may be.
    pub tolerance: f64,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Crossing {
    /// The answer; none if nothing that was tried holds.
    pub holds: Option<f64>,
    /// The nearest value beyond it that does not hold; none if nothing that was tried fails.
    pub fails: Option<f64>,
}

impl Line {
    /// Seeks with the answers of `holds`.
    ///
    /// # Errors
    /// If `holds` fails.
    pub fn crossing<E>(
        &self,
        seek: Seek,
        mut holds: impl FnMut(f64) -> Result<bool, E>,
    ) -> Result<Crossing, E> {
        let at_low = seek == Seek::Largest;
        let mut below = self.low;
        if holds(below)? != at_low {
            return Ok(match seek {
                Seek::Largest => Crossing {
                    holds: None,
                    fails: Some(below),
                },
                Seek::Smallest => Crossing {
                    holds: Some(below),
                    fails: None,
                },
            });
        }
        let above = loop {
            if below >= self.high {
                break None;
            }
            let next = self.further(below);
            if holds(next)? != at_low {
                break Some(next);
            }
            below = next;
        };
        let (below, above) = match above {
            Some(above) => {
                let (below, above) =
                    self.narrowed(below, above, |value| Ok(holds(value)? == at_low))?;
                (Some(below), Some(above))
            }
            None => (Some(below), None),
        };
        Ok(match seek {
            Seek::Largest => Crossing {
                holds: below,
                fails: above,
            },
            Seek::Smallest => Crossing {
                holds: above,
                fails: below,
            },
        })
    }

    /// The next value on the way up.
    #[must_use]
    pub fn further(&self, value: f64) -> f64 {
        (2.0 * value).min(self.high)
    }

    /// Bisects between a value that is as the low end is, says `as_low`, and one that is not.
    ///
    /// # Errors
    /// If `as_low` fails.
    pub fn narrowed<E>(
        &self,
        mut below: f64,
        mut above: f64,
        mut as_low: impl FnMut(f64) -> Result<bool, E>,
    ) -> Result<(f64, f64), E> {
        while let Some(middle) = self.middle(below, above) {
            match as_low(middle)? {
                true => below = middle,
                false => above = middle,
            }
        }
        Ok((below, above))
    }

    /// Where to look between two values; none if they are near enough.
    #[must_use]
    pub fn middle(&self, below: f64, above: f64) -> Option<f64> {
        if self.whole {
            let middle = (below * above).sqrt().round();
            let middle = middle.clamp(below + 1.0, (above - 1.0).max(below + 1.0));
            return (above - below > 1.5).then_some(middle);
        }
        (above > below * (1.0 + self.tolerance)).then(|| (below * above).sqrt())
    }

    /// About how many more tries a search takes that has come so far.
    #[must_use]
    pub fn left(&self, below: f64, above: Option<f64>) -> u64 {
        // Until something changes, it is taken to be one doubling away.
        let (mut tries, mut above) = match above {
            Some(above) => (0, above),
            None => (1, self.further(below)),
        };
        while let Some(middle) = self.middle(below, above) {
            (above, tries) = (middle, tries + 1);
        }
        tries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: Line, seek: Seek, limit: f64) -> (Crossing, Vec<f64>) {
        let mut tried = Vec::new();
        let holds = |value: f64| {
            tried.push(value);
            Ok::<_, ()>(match seek {
                Seek::Largest => value <= limit,
                Seek::Smallest => value >= limit,
            })
        };
        (line.crossing(seek, holds).expect("it cannot fail"), tried)
    }

    #[test]
    fn whole_numbers_are_found_exactly_from_both_sides() {
        let line = Line {
            low: 1.0,
            high: 100.0,
            whole: true,
            tolerance: 0.0,
        };
        for limit in 1..=100 {
            let limit = f64::from(limit);
            let (largest, tried) = found(line, Seek::Largest, limit);
            assert_eq!(largest.holds, Some(limit));
            assert_eq!(largest.fails, (limit < 100.0).then_some(limit + 1.0));
            assert!(
                tried.iter().all(|v| v.fract().abs() < 1e-12) && tried.len() <= 15,
                "{tried:?}"
            );
            let (smallest, _) = found(line, Seek::Smallest, limit);
            assert_eq!(smallest.holds, Some(limit));
            assert_eq!(smallest.fails, (limit > 1.0).then_some(limit - 1.0));
        }
    }

    #[test]
    fn what_never_changes_is_said() {
        let line = Line {
            low: 0.5,
            high: 20.0,
            whole: false,
            tolerance: 0.02,
        };
        assert_eq!(
            found(line, Seek::Largest, 0.1).0,
            Crossing {
                holds: None,
                fails: Some(0.5)
            }
        );
        assert_eq!(
            found(line, Seek::Largest, 99.0).0,
            Crossing {
                holds: Some(20.0),
                fails: None
            }
        );
        assert_eq!(
            found(line, Seek::Smallest, 99.0).0,
            Crossing {
                holds: None,
                fails: Some(20.0)
            }
        );
        assert_eq!(
            found(line, Seek::Smallest, 0.1).0,
            Crossing {
                holds: Some(0.5),
                fails: None
            }
        );
        let (crossing, tried) = found(line, Seek::Largest, 7.0);
        let (holds, fails) = (
            crossing.holds.expect("it does"),
            crossing.fails.expect("it does"),
        );
        assert!(
            holds <= 7.0 && 7.0 < fails && fails <= holds * 1.02,
            "{crossing:?}"
        );
        // 0.5, 1, 2, 4, 8; a factor of 2 is halved six times to within 2 %.
        assert_eq!(tried.len(), 5 + 6);
        assert_eq!((line.left(0.5, None), line.left(4.0, Some(8.0))), (7, 6));
    }
}

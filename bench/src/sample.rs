//! One run of a load generator.

use std::time::Duration;

use anyhow::{Result, bail};

/// What a load generator counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Answers.
    pub requests: u64,
    /// Answers in a second.
    pub rate: f64,
    /// 99 of a hundred answers took no longer, if the generator says so. It waits for an
    /// answer before it asks again, so a slow one hides those that would have come after.
    pub p99: Option<Duration>,
    /// What went wrong, if anything did: answers other than 2xx, and lost sockets.
    pub errors: Option<String>,
}

impl Sample {
    /// The sample, if it may be counted.
    ///
    /// # Errors
    ///
    /// Anything went wrong: the rate of a system that refuses is not a rate.
    pub fn clean(self) -> Result<Self> {
        match &self.errors {
            Some(errors) => bail!("{errors}"),
            None if self.requests == 0 => bail!("no answer at all"),
            None => Ok(self),
        }
    }
}

/// The middle one of some figures, the mean of the two in the middle for an even number
/// of them; `None` for none.
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { upper } else { f64::midpoint(upper, sorted[middle - 1]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_sample_with_errors_is_no_sample() {
        let sample = |requests, errors: Option<&str>| {
            Sample { requests, rate: 1.0, p99: None, errors: errors.map(str::to_owned) }.clean()
        };
        assert!(sample(1, None).is_ok());
        assert!(sample(1, Some("3 answers were not 2xx")).is_err());
        assert!(sample(0, None).is_err());
    }
}

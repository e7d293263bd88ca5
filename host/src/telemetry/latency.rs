//! How long requests took: a histogram that costs three relaxed additions to fill.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Each power of two is divided into 2^5 buckets of equal width, so that a value
/// is known to 1/32 of itself: 3 %, finer than latencies are reproducible.
const DIVISION_BITS: u32 = 5;
const DIVISIONS: usize = 1 << DIVISION_BITS;
/// Values up to 2^36 µs, 19 hours; longer ones count as that.
const VALUE_BITS: u32 = 36;
const BUCKETS: usize = (VALUE_BITS - DIVISION_BITS + 1) as usize * DIVISIONS;

/// The bounds that Prometheus is given: the powers of two from 2^7 µs (128 µs) to
/// 2^23 µs (8.4 s), which coincide with bounds of the buckets. A host call costs
/// microseconds and a request is ended after 5 s unless the manifest says otherwise.
const PROMETHEUS_POWERS: std::ops::RangeInclusive<u32> = 7..=23;

/// A log-linear histogram of microseconds in atomics (the layout of HdrHistogram,
/// without its lock): writers never wait for each other or for a reader.
///
/// A reader may see a request in one bucket and not yet in the sum; the numbers are
/// statistics, and right to within the requests of that instant.
#[derive(Debug)]
pub struct Latency {
    buckets: Box<[AtomicU64]>,
    count: AtomicU64,
    sum_us: AtomicU64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            count: AtomicU64::new(0),
            sum_us: AtomicU64::new(0),
        }
    }
}

impl Latency {
    /// How many buckets Prometheus is given, the one without a bound included.
    pub const PROMETHEUS_BUCKETS: usize =
        (*PROMETHEUS_POWERS.end() - *PROMETHEUS_POWERS.start()) as usize + 2;

    /// In which of them a request counts.
    pub fn prometheus_bucket(took: Duration) -> usize {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        PROMETHEUS_POWERS.take_while(|power| us >= 1 << power).count()
    }

    /// Counts one request.
    pub fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(us)].fetch_add(1, Relaxed);
        self.count.fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// Begins to measure something that ends when the guard is dropped, however that comes.
    pub fn begin(&self) -> Measured<'_> {
        Measured { latency: self, begun: Instant::now() }
    }

    /// Requests counted.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// All requests' time together, in seconds.
    pub fn sum_s(&self) -> f64 {
        Duration::from_micros(self.sum_us.load(Relaxed)).as_secs_f64()
    }

    /// For each quantile, from 0 to 1 and in ascending order, the time in
    /// microseconds that so large a share of the requests did not exceed, rounded
    /// up by at most 1/32. Zero while nothing has been counted.
    pub fn quantiles_us<const N: usize>(&self, quantiles: [f64; N]) -> [u64; N] {
        let counts: Vec<u64> = self.buckets.iter().map(|count| count.load(Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let mut seen = 0;
        let mut bucket = 0;
        quantiles.map(|quantile| {
            let rank = rank_of(quantile, total);
            while bucket < BUCKETS && seen + counts[bucket] < rank {
                seen += counts[bucket];
                bucket += 1;
            }
            if total == 0 { 0 } else { upper_bound_us(bucket.min(BUCKETS - 1)) }
        })
    }

    /// Bound in seconds and number of requests below it that were not below the
    /// bound before, for Prometheus; the last bound is infinite.
    pub fn prometheus_buckets(&self) -> Vec<(f64, u64)> {
        let mut start = 0;
        let mut buckets: Vec<(f64, u64)> = PROMETHEUS_POWERS
            .map(|power| {
                let end = bucket_of(1 << power);
                let bound = Duration::from_micros(1 << power).as_secs_f64();
                let count = self.buckets[start..end].iter().map(|count| count.load(Relaxed)).sum();
                start = end;
                (bound, count)
            })
            .collect();
        let rest = self.buckets[start..].iter().map(|count| count.load(Relaxed)).sum();
        buckets.push((f64::INFINITY, rest));
        buckets
    }
}

/// Something that lasts.
#[derive(Debug)]
#[must_use = "it lasts until this is dropped"]
pub struct Measured<'a> {
    latency: &'a Latency,
    begun: Instant,
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        self.latency.record(self.begun.elapsed());
    }
}

/// The place of a quantile among `total` values in order, counted from 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rank is a whole number from 1 to total"
)]
fn rank_of(quantile: f64, total: u64) -> u64 {
    ((quantile * total as f64).ceil() as u64).clamp(1, total.max(1))
}

fn bucket_of(us: u64) -> usize {
    let us = us.min((1 << VALUE_BITS) - 1);
    let bits = u64::BITS - us.leading_zeros();
    let shift = bits.saturating_sub(DIVISION_BITS + 1);
    shift as usize * DIVISIONS + (us >> shift) as usize
}

/// The largest value that falls into a bucket.
fn upper_bound_us(bucket: usize) -> u64 {
    let shift = (bucket / DIVISIONS).saturating_sub(1);
    let first = (bucket - shift * DIVISIONS) as u64;
    ((first + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut expected = 0;
        for bucket in 0..BUCKETS {
            let last = upper_bound_us(bucket);
            assert_eq!(bucket_of(expected), bucket, "first value {expected}");
            assert_eq!(bucket_of(last), bucket, "last value {last}");
            expected = last + 1;
        }
        assert_eq!(expected, 1 << VALUE_BITS);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_right_to_a_thirty_second() {
        let latency = Latency::default();
        for us in 1..=10_000 {
            latency.record(Duration::from_micros(us));
        }
        let quantiles = latency.quantiles_us([0.5, 0.9, 0.99, 0.999, 1.0]);
        for (got, exact) in quantiles.into_iter().zip([5_000, 9_000, 9_900, 9_990, 10_000]) {
            assert!(got >= exact && got <= exact + exact / 32 + 1, "{got} for {exact}");
        }
    }

    #[test]
    fn what_is_given_up_is_measured_too() {
        let latency = Latency::default();
        drop(latency.begin());
        {
            let given_up = async {
                let _measured = latency.begin();
                std::future::pending::<()>().await;
            };
            let mut given_up = Box::pin(given_up);
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(given_up.as_mut().poll(&mut context).is_pending());
            assert_eq!(latency.count(), 1);
        }
        assert_eq!(latency.count(), 2);
    }

    #[test]
    fn an_empty_histogram_says_zero() {
        assert_eq!(Latency::default().quantiles_us([0.5, 0.999]), [0, 0]);
    }

    #[test]
    fn one_slow_request_in_a_hundred_shows_in_the_99th_percentile_only_above_it() {
        let latency = Latency::default();
        for _ in 0..99 {
            latency.record(Duration::from_micros(10));
        }
        latency.record(Duration::from_secs(1));
        let [p99, p999] = latency.quantiles_us([0.99, 0.999]);
        assert_eq!(p99, 10);
        assert!(p999 >= 1_000_000);
    }

    #[test]
    fn prometheus_is_given_every_request_once() {
        let latency = Latency::default();
        for us in [1, 127, 128, 300, 5_000, 70_000, 9_000_000, u64::MAX] {
            latency.record(Duration::from_micros(us));
        }
        let buckets = latency.prometheus_buckets();
        assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), 8);
        assert_eq!(buckets[0], (0.000_128, 2));
        assert_eq!(buckets.last().copied(), Some((f64::INFINITY, 2)));
    }
}

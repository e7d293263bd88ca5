//! One request for each bucket of a histogram, of which there is a trace to look at.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use super::Latency;
use super::trace::TraceId;

/// A request of which there is a trace.
#[derive(Debug, Clone, Copy)]
pub struct Exemplar {
    /// Its trace.
    pub trace: TraceId,
    /// How long it took.
    pub took: Duration,
    /// When it had its answer.
    pub at: SystemTime,
}

/// The latest exemplar of each bucket that Prometheus is given. Empty, and of no size, until
/// a trace is recorded.
#[derive(Debug, Default)]
pub struct Exemplars(OnceLock<Box<[Mutex<Option<Exemplar>>]>>);

impl Exemplars {
    /// Keeps a request that has just been answered, in its bucket.
    pub fn keep(&self, took: Duration, trace: TraceId) {
        let buckets =
            self.0.get_or_init(|| (0..Latency::PROMETHEUS_BUCKETS).map(|_| Mutex::default()).collect());
        let bucket = &buckets[Latency::prometheus_bucket(took)];
        let exemplar = Exemplar { trace, took, at: SystemTime::now() };
        *bucket.lock().unwrap_or_else(PoisonError::into_inner) = Some(exemplar);
    }

    /// The exemplar of each bucket, in their order.
    pub fn read(&self) -> Vec<Option<Exemplar>> {
        let Some(buckets) = self.0.get() else { return vec![None; Latency::PROMETHEUS_BUCKETS] };
        buckets.iter().map(|bucket| *bucket.lock().unwrap_or_else(PoisonError::into_inner)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::trace::TraceContext;

    #[test]
    fn each_bucket_keeps_its_latest() {
        let exemplars = Exemplars::default();
        assert!(exemplars.read().iter().all(Option::is_none));
        let traces = [(); 3].map(|()| TraceContext::new().trace_id());
        exemplars.keep(Duration::from_micros(1), traces[0]);
        exemplars.keep(Duration::from_micros(2), traces[1]);
        exemplars.keep(Duration::from_secs(3600), traces[2]);
        let kept: Vec<_> = exemplars.read().iter().map(|kept| kept.map(|exemplar| exemplar.trace)).collect();
        assert_eq!(kept.len(), Latency::default().prometheus_buckets().len());
        assert_eq!((kept[0], kept.last().copied().flatten()), (Some(traces[1]), Some(traces[2])));
        assert_eq!(kept.iter().flatten().count(), 2);
    }

    #[test]
    fn an_exemplar_is_within_the_bounds_of_its_bucket() {
        let bounds = Latency::default().prometheus_buckets();
        for us in [0, 127, 128, 129, 1_000, 4_096, 8_388_607, 8_388_608, 100_000_000] {
            let took = Duration::from_micros(us);
            let bucket = Latency::prometheus_bucket(took);
            assert!(took.as_secs_f64() <= bounds[bucket].0, "{us} µs in {bucket}");
            assert!(bucket == 0 || took.as_secs_f64() >= bounds[bucket - 1].0, "{us} µs in {bucket}");
        }
    }
}

//! Who decides what is recorded, and takes ended spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use opentelemetry_sdk::trace::SpanData;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::TraceContext;
use super::export::Exporter;
use super::otlp::Otlp;
use crate::limits::SPANS_WAITING_MAX;
use crate::manifest;

/// The `service.name` of what belongs to no service.
pub const HOST: &str = "wasmyard";

/// Decides which traces are recorded, and hands their spans to the exporter.
#[derive(Debug)]
pub struct Tracer {
    /// New traces whose id, shifted to 63 bits, is below this are recorded.
    threshold: u64,
    host: Arc<str>,
    queue: mpsc::Sender<Ended>,
    flushes: mpsc::Sender<oneshot::Sender<()>>,
    counters: Arc<SpanCounters>,
}

/// What became of ended spans.
#[derive(Debug, Default)]
pub struct SpanCounters {
    /// The collector has them.
    pub exported: AtomicU64,
    /// The queue was full.
    pub dropped: AtomicU64,
    /// The collector did not take them in time.
    pub failed: AtomicU64,
}

/// A span that has ended, with the service that it belongs to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(super) service: Arc<str>,
    pub(super) data: Box<SpanData>,
}

/// Records the spans of one service.
#[derive(Debug, Clone)]
pub(super) struct Recorder {
    tracer: Arc<Tracer>,
    pub(super) service: Arc<str>,
}

impl Tracer {
    /// A tracer, and the task that exports what it is given; `None` without an endpoint.
    ///
    /// # Errors
    /// The endpoint, or a header, is none.
    pub fn start(
        settings: &manifest::Telemetry,
    ) -> anyhow::Result<Option<(Arc<Self>, impl Future<Output = ()> + Send + 'static)>> {
        let Some(otlp) = Otlp::new(settings)? else { return Ok(None) };
        let (queue, spans) = mpsc::channel(SPANS_WAITING_MAX);
        let (flushes, asked) = mpsc::channel(1);
        let counters = Arc::<SpanCounters>::default();
        let exporter = Exporter::new(otlp, spans, asked, counters.clone());
        let threshold = threshold(settings.sample_ratio);
        let tracer = Self { threshold, host: HOST.into(), queue, flushes, counters };
        Ok(Some((Arc::new(tracer), exporter.run())))
    }

    /// A tracer whose spans a test takes.
    #[cfg(test)]
    pub(crate) fn of_test(sample_ratio: f64, waiting_max: usize) -> (Arc<Self>, mpsc::Receiver<Ended>) {
        let (queue, spans) = mpsc::channel(waiting_max);
        let (flushes, _) = mpsc::channel(1);
        let (threshold, counters) = (threshold(sample_ratio), Arc::default());
        (Arc::new(Self { threshold, host: HOST.into(), queue, flushes, counters }), spans)
    }

    /// A request's context, recorded if it is to be: as the client has decided, or for a new
    /// trace by its id, so that all hosts decide alike.
    pub fn admit(self: &Arc<Self>, context: TraceContext) -> TraceContext {
        let chosen = match context.is_remote {
            true => context.is_sampled(),
            false => low_63_bits(context.trace_id.0) < self.threshold,
        };
        if !chosen {
            return context;
        }
        context.recorded(Recorder { tracer: self.clone(), service: self.host.clone() })
    }

    /// What became of ended spans.
    pub fn counters(&self) -> &Arc<SpanCounters> {
        &self.counters
    }

    /// Waits until every span that has ended so far was sent or given up, at most for so
    /// long. False when that was not long enough.
    pub async fn flush(&self, wait: Duration) -> bool {
        let (done, is_done) = oneshot::channel();
        let flushed = async { self.flushes.send(done).await.is_ok() && is_done.await.is_ok() };
        timeout(wait, flushed).await.unwrap_or(false)
    }
}

impl Recorder {
    pub(super) fn of_service(&self, service: &Arc<str>) -> Self {
        Self { tracer: self.tracer.clone(), service: service.clone() }
    }

    /// Takes a span that has ended. It waits for nothing: a full queue drops the span.
    pub(super) fn take(self, data: Box<SpanData>) {
        let Self { tracer, service } = self;
        if tracer.queue.try_send(Ended { service, data }).is_err() {
            tracer.counters.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// As OpenTelemetry's `TraceIdRatioBased` sampler has it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a ratio from 0 to 1 of 2^63"
)]
fn threshold(ratio: f64) -> u64 {
    (ratio * (1_u64 << 63) as f64) as u64
}

#[expect(clippy::cast_possible_truncation, reason = "the last 64 bits are what is meant")]
fn low_63_bits(id: u128) -> u64 {
    id as u64 >> 1
}

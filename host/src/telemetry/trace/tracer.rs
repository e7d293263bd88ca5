//! Who decides what is recorded, and takes ended spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use opentelemetry_sdk::trace::SpanData;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::export::Exporter;
use super::hold::Hold;
use super::otlp::Otlp;
use super::size;
use super::{Span, SpanKind, TraceContext};
use crate::limits::{SPANS_WAITING_BYTES_MAX, SPANS_WAITING_MAX};
use crate::manifest;

/// The `service.name` of what belongs to no service.
pub const HOST: &str = "wasmyard";

/// Decides which traces are recorded, and hands their spans to the exporter.
#[derive(Debug)]
pub struct Tracer {
    /// New traces whose id, shifted to 63 bits, is below this are recorded.
    threshold: u64,
    /// Whether what a client says of the recording of its traces counts.
    trust_clients: bool,
    host: Arc<str>,
    queue: mpsc::Sender<Ended>,
    flushes: mpsc::Sender<oneshot::Sender<()>>,
    /// Bytes of the spans that wait or are being sent.
    bytes: Arc<AtomicUsize>,
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
    /// What it takes of the room for those that wait.
    pub(super) bytes: usize,
}

/// Records the spans of one service.
#[derive(Debug, Clone)]
pub(super) struct Recorder {
    tracer: Arc<Tracer>,
    pub(super) service: Arc<str>,
    /// Where the trace's spans wait until there is reason to keep it.
    held: Option<Arc<Hold>>,
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
        let (counters, bytes) = (Arc::<SpanCounters>::default(), Arc::<AtomicUsize>::default());
        let exporter = Exporter::new(otlp, spans, asked, (counters.clone(), bytes.clone()));
        let tracer = Self {
            threshold: threshold(settings.sample_ratio),
            trust_clients: settings.trust_clients,
            host: HOST.into(),
            queue,
            flushes,
            bytes,
            counters,
        };
        Ok(Some((Arc::new(tracer), exporter.run())))
    }

    /// A tracer whose spans a test takes.
    #[cfg(test)]
    pub(crate) fn of_test(sample_ratio: f64, waiting_max: usize) -> (Arc<Self>, mpsc::Receiver<Ended>) {
        let (queue, spans) = mpsc::channel(waiting_max);
        let tracer = Self {
            threshold: threshold(sample_ratio),
            trust_clients: true,
            host: HOST.into(),
            queue,
            flushes: mpsc::channel(1).0,
            bytes: Arc::default(),
            counters: Arc::default(),
        };
        (Arc::new(tracer), spans)
    }

    /// The same, but that strangers have no say in what is recorded.
    #[cfg(test)]
    pub(crate) fn wary(self: Arc<Self>) -> Arc<Self> {
        let tracer = Arc::into_inner(self).expect("nobody records yet");
        Arc::new(Self { trust_clients: false, ..tracer })
    }

    /// A request's context, recorded if it is to be: as the client has decided, if that
    /// counts; and for a new trace by its id, so that all hosts decide alike.
    pub fn admit(self: &Arc<Self>, context: TraceContext) -> TraceContext {
        match (context.is_remote, self.trust_clients) {
            (true, true) => self.continued(context),
            // Not by the id, which the client has chosen too.
            (true, false) => self.recorded_if(fastrand::u64(..) >> 1 < self.threshold, context),
            (false, _) => self.recorded_if(low_63_bits(context.trace_id.0) < self.threshold, context),
        }
    }

    /// A context in which it has been decided before: recorded as that says.
    pub(super) fn continued(self: &Arc<Self>, context: TraceContext) -> TraceContext {
        self.recorded_if(context.is_sampled(), context)
    }

    fn recorded_if(self: &Arc<Self>, chosen: bool, context: TraceContext) -> TraceContext {
        let recorder = || Recorder { tracer: self.clone(), service: self.host.clone(), held: None };
        context.recorded(chosen.then(recorder))
    }

    /// Begins a trace of work that nobody asked for: the first span, and its context. It is
    /// chosen as other new traces are, and kept only if something happens in it: work that
    /// looks every second whether there is any would fill the store with looks.
    pub fn work(self: &Arc<Self>, service: &Arc<str>, name: &'static str) -> (Span, TraceContext) {
        let context = self.admit(TraceContext::new()).of_service(service).held();
        let span = context.first(SpanKind::Internal, name, SystemTime::now());
        let within = span.under(&context);
        (span, within)
    }

    /// What became of ended spans.
    pub fn counters(&self) -> &Arc<SpanCounters> {
        &self.counters
    }

    /// Lets a span wait for the exporter, if there is room for it.
    fn keep(&self, ended: Ended) {
        let bytes = ended.bytes;
        let fits = self.bytes.fetch_add(bytes, Relaxed) + bytes <= SPANS_WAITING_BYTES_MAX;
        if !fits || self.queue.try_send(ended).is_err() {
            self.bytes.fetch_sub(bytes, Relaxed);
            self.counters.dropped.fetch_add(1, Relaxed);
        }
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
        Self { service: service.clone(), ..self.clone() }
    }

    /// The same, of a trace that is kept only if something happens in it.
    pub(super) fn held(self) -> Self {
        Self { held: Some(Arc::default()), ..self }
    }

    /// Takes a span that has ended, and in which something has happened or not. It waits for
    /// nothing: a full queue drops the span.
    pub(super) fn take(self, data: Box<SpanData>, eventful: bool) {
        let Self { tracer, service, held } = self;
        let ended = Ended { service, bytes: size::of(&data), data };
        match held {
            None => tracer.keep(ended),
            Some(held) => held.take(ended, eventful).into_iter().for_each(|ended| tracer.keep(ended)),
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

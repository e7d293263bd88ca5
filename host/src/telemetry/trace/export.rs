//! The task that sends ended spans.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures_util::StreamExt as _;
use futures_util::stream;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::otlp::Otlp;
use super::tracer::{Ended, SpanCounters};
use crate::limits::{
    SPANS_BATCH_BYTES_MAX, SPANS_BATCH_MAX, SPANS_DELAY, SPANS_EXPORT_TIMEOUT, SPANS_EXPORTS_MAX,
};

/// Sends spans in batches, each service's by itself.
pub(super) struct Exporter {
    otlp: Otlp,
    spans: mpsc::Receiver<Ended>,
    flushes: mpsc::Receiver<oneshot::Sender<()>>,
    counters: Arc<SpanCounters>,
    /// Bytes of the spans that wait or are being sent.
    bytes: Arc<AtomicUsize>,
    /// One for each service that has had a span; their number is that of the manifests'
    /// services.
    exporters: BTreeMap<Arc<str>, Arc<SpanExporter>>,
    /// The collector did not take the last spans: said once, until it takes some again.
    is_away: bool,
}

/// Why the gathering of a batch ended.
enum Gathered {
    /// There is enough, or the first one has waited long enough.
    Batch,
    /// Somebody waits for everything to be sent.
    Flush(oneshot::Sender<()>),
    /// Nobody records any more.
    End,
}

impl Exporter {
    pub(super) fn new(
        otlp: Otlp,
        spans: mpsc::Receiver<Ended>,
        flushes: mpsc::Receiver<oneshot::Sender<()>>,
        (counters, bytes): (Arc<SpanCounters>, Arc<AtomicUsize>),
    ) -> Self {
        Self { otlp, spans, flushes, counters, bytes, exporters: BTreeMap::new(), is_away: false }
    }

    /// Sends until nobody records any more.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(SPANS_BATCH_MAX);
        loop {
            let gathered = self.gather(&mut batch).await;
            self.export(&mut batch).await;
            match gathered {
                Gathered::Batch => {}
                // Whoever asked may have given up waiting.
                Gathered::Flush(done) => drop(done.send(())),
                Gathered::End => return,
            }
        }
    }

    async fn gather(&mut self, batch: &mut Vec<Ended>) -> Gathered {
        let (mut due, mut bytes) = (Instant::now() + SPANS_DELAY, 0);
        loop {
            tokio::select! {
                // What has ended before a flush was asked for belongs to it.
                biased;
                taken = self.spans.recv() => {
                    let Some(ended) = taken else { return Gathered::End };
                    if batch.is_empty() {
                        due = Instant::now() + SPANS_DELAY;
                    }
                    bytes += ended.bytes;
                    batch.push(ended);
                    if batch.len() >= SPANS_BATCH_MAX || bytes >= SPANS_BATCH_BYTES_MAX {
                        return Gathered::Batch;
                    }
                }
                Some(done) = self.flushes.recv() => return Gathered::Flush(done),
                () = sleep_until(due), if !batch.is_empty() => return Gathered::Batch,
            }
        }
    }

    async fn export(&mut self, batch: &mut Vec<Ended>) {
        let mut by_service: BTreeMap<Arc<str>, Vec<SpanData>> = BTreeMap::new();
        let bytes = batch.iter().map(|ended| ended.bytes).sum();
        for Ended { service, data, .. } in batch.drain(..) {
            by_service.entry(service).or_default().push(*data);
        }
        let mut exports = Vec::with_capacity(by_service.len());
        for (service, spans) in by_service {
            let count = spans.len() as u64;
            match self.exporter(&service) {
                Ok(exporter) => exports.push(async move { (count, send(&exporter, spans).await) }),
                Err(error) => self.settle(count, Err(format!("{error:#}"))),
            }
        }
        let mut sent = stream::iter(exports).buffer_unordered(SPANS_EXPORTS_MAX);
        while let Some((count, outcome)) = sent.next().await {
            self.settle(count, outcome);
        }
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    fn exporter(&mut self, service: &Arc<str>) -> anyhow::Result<Arc<SpanExporter>> {
        if let Some(exporter) = self.exporters.get(service) {
            return Ok(exporter.clone());
        }
        let exporter = Arc::new(self.otlp.exporter(service)?);
        self.exporters.insert(service.clone(), exporter.clone());
        Ok(exporter)
    }

    fn settle(&mut self, count: u64, outcome: Result<(), String>) {
        let was_away = std::mem::replace(&mut self.is_away, outcome.is_err());
        match outcome {
            Ok(()) => {
                self.counters.exported.fetch_add(count, Relaxed);
                if was_away {
                    tracing::info!("traces: the collector takes spans again");
                }
            }
            Err(reason) => {
                self.counters.failed.fetch_add(count, Relaxed);
                if !was_away {
                    tracing::warn!("traces: spans are lost, the collector does not take them: {reason}");
                }
            }
        }
    }
}

/// Sends one service's spans. The exporter tries again by itself, within the time.
async fn send(exporter: &SpanExporter, spans: Vec<SpanData>) -> Result<(), String> {
    match timeout(SPANS_EXPORT_TIMEOUT, exporter.export(spans)).await {
        Ok(sent) => sent.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", SPANS_EXPORT_TIMEOUT.as_secs())),
    }
}

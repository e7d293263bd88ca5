//! Everything that is counted, as Prometheus reads it: OpenMetrics 1.0, or the text format
//! from before it.
//!
//! Nothing is registered in advance: a scrape reads the counters where they are kept,
//! so a request pays for no lookup of labels. Label values come from the manifest
//! (services, routes) or from short fixed lists (methods, kinds), never from a
//! client; a path that no route has counts under the route `""`.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::exposition::{as_text, with_exemplars};
use super::trace::SpanCounters;
use super::{Exemplar, Format, Latency, Origin, RouteStats, ServiceStats, event_metrics};
use crate::capability::cache::NearUsage;
use crate::events::EventStats;
use crate::server::ConnectionStats;

/// One counter of a service.
type Count = fn(&ServiceStats) -> u64;

/// One number of a service's near cache.
type NearGauge = fn(&NearUsage) -> u64;

/// What one scrape reads.
#[derive(Debug, Default)]
pub struct Scrape {
    /// Paths that no route has.
    pub unrouted: Arc<RouteStats>,
    /// The services.
    pub services: Vec<ServiceScrape>,
    /// What is counted of events, by topic.
    pub events: Vec<(String, Arc<EventStats>)>,
    /// What the server counts about connections.
    pub connections: Arc<ConnectionStats>,
    /// What became of spans, if traces are recorded.
    pub spans: Option<Arc<SpanCounters>>,
    /// Those of the buckets of request durations, in the order in which these are written;
    /// empty until then.
    pub exemplars: Arc<Mutex<Vec<Option<Exemplar>>>>,
    /// When the host began to start.
    pub started_at: Timestamp,
    /// Wasmyard's own version.
    pub host_version: String,
}

/// One service's part.
#[derive(Debug)]
pub struct ServiceScrape {
    /// Its counters.
    pub stats: Arc<ServiceStats>,
    /// The label of its active version; empty when there is none.
    pub version: String,
    /// Instances waiting for a request.
    pub instances_warm: u64,
    /// Instances working on one.
    pub instances_busy: u64,
    /// Instances dropped since the host started.
    pub instances_retired: u64,
    /// Requests at once that it may have.
    pub concurrency_max: u64,
}

impl Scrape {
    /// The whole text.
    pub fn render(self, format: Format) -> String {
        let exemplars = self.exemplars.clone();
        let mut registry = Registry::with_prefix("wasmyard");
        registry.register_collector(Box::new(self));
        let mut text = String::with_capacity(16 * 1024);
        // Writing to a string does not fail; were it to, half a text would be read as
        // counters that went back to zero.
        match encode(&mut text, &registry) {
            Ok(()) => {}
            Err(fmt::Error) => "# EOF\n".clone_into(&mut text),
        }
        match format {
            Format::Text => as_text(&text),
            Format::OpenMetrics => {
                let exemplars = exemplars.lock().unwrap_or_else(PoisonError::into_inner);
                with_exemplars(&text, "wasmyard_request_duration_seconds", &exemplars)
            }
        }
    }
}

impl Collector for Scrape {
    fn encode(&self, mut to: DescriptorEncoder) -> fmt::Result {
        self.requests(&mut to)?;
        self.durations(&mut to)?;

        let services = &self.services;
        let mut family =
            counter(&mut to, "guest_failures", "Requests that a service gave no answer to, by kind")?;
        for service in services {
            for (kind, count) in service.stats.failures() {
                counted(&mut family, &[service.label(), ("kind", kind)], count)?;
            }
        }
        let mut family = counter(&mut to, "cache_lookups", "Lookups in the cache, by result")?;
        for service in services {
            let (hits, misses) = service.stats.cache();
            counted(&mut family, &[service.label(), ("result", "hit")], hits)?;
            counted(&mut family, &[service.label(), ("result", "miss")], misses)?;
        }
        self.near(&mut to)?;
        self.waits(&mut to)?;
        self.pools(&mut to)?;
        self.spans(&mut to)?;
        let help = "Callers that were not let through, by reason";
        let mut family = counter(&mut to, "requests_denied", help)?;
        for service in services {
            for (reason, count) in service.stats.denials() {
                counted(&mut family, &[service.label(), ("reason", reason)], count)?;
            }
        }
        let help =
            "Requests that a rate limit let pass or refused, by what decided it; \"host\" is without Redis";
        let mut family = counter(&mut to, "rate_limit_decisions", help)?;
        for service in services {
            for (by, result, count) in service.stats.limits().iter() {
                counted(&mut family, &[service.label(), ("by", by), ("result", result)], count)?;
            }
        }
        let counters: [(&str, &str, Count); 3] = [
            (
                "requests_abandoned",
                "Requests whose client went away before the answer",
                ServiceStats::abandoned,
            ),
            ("saturated", "Requests refused because the service was saturated", ServiceStats::saturated),
            ("swaps", "Versions that took another one's place", ServiceStats::swaps),
        ];
        for (name, help, read) in counters {
            let mut family = counter(&mut to, name, help)?;
            for service in services {
                counted(&mut family, &[service.label()], read(&service.stats))?;
            }
        }

        self.own(&mut to)?;
        let mut family = counter(&mut to, "instances_retired", "Instances dropped")?;
        for service in services {
            counted(&mut family, &[service.label()], service.instances_retired)?;
        }

        let mut family = gauge(&mut to, "requests_in_flight", "Requests being worked on")?;
        for service in services {
            gauged(&mut family, &[service.label()], service.stats.in_flight())?;
        }
        let help = "Requests that a service may work on at once; one more is refused, none waits";
        let mut family = gauge(&mut to, "concurrency_max", help)?;
        for service in services {
            gauged(&mut family, &[service.label()], service.concurrency_max)?;
        }
        let mut family =
            gauge(&mut to, "instances", "Instances by state, those of versions that drain included")?;
        for service in services {
            gauged(&mut family, &[service.label(), ("state", "warm")], service.instances_warm)?;
            gauged(&mut family, &[service.label(), ("state", "busy")], service.instances_busy)?;
        }
        let mut family = gauge(&mut to, "version_active", "1 for the version that new requests go to")?;
        for service in services.iter().filter(|service| !service.version.is_empty()) {
            gauged(&mut family, &[service.label(), ("version", &service.version)], 1)?;
        }
        self.connections(&mut to)?;
        event_metrics::encode(&self.events, &mut to)?;
        gauge(&mut to, "start_time_seconds", "When the host began to start, in seconds since 1970")?
            .encode_gauge(&self.started_at.as_second())?;
        to.encode_descriptor("build", "The host's own version", None, MetricType::Info)?
            .encode_info(&[("version", &*self.host_version)])
    }
}

impl Scrape {
    fn requests(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let mut family = counter(to, "requests", "Requests answered, by service, route, method and status")?;
        self.each_route(|service, route, origin, stats| {
            for (method, status, count) in stats.counts(origin) {
                let status = status.to_string();
                let labels = [
                    ("service", service),
                    ("route", route),
                    ("method", method),
                    ("status", &*status),
                    ("origin", origin.as_str()),
                ];
                counted(&mut family, &labels, count)?;
            }
            Ok(())
        })
    }

    fn durations(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let help = "Time from a request's arrival to its answer";
        let mut family =
            to.encode_descriptor("request_duration_seconds", help, None, MetricType::Histogram)?;
        self.each_route(|service, route, origin, stats| {
            for (method, latency, kept) in stats.durations(origin) {
                let labels =
                    [("service", service), ("route", route), ("method", method), ("origin", origin.as_str())];
                let mut exemplars = self.exemplars.lock().unwrap_or_else(PoisonError::into_inner);
                exemplars.extend(kept.read());
                distributed(&mut family, &labels, latency)?;
            }
            Ok(())
        })
    }

    /// For a permit nobody waits: whoever gets none is refused, and counted as saturated.
    fn waits(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let services =
            || self.services.iter().filter_map(|service| Some((service, service.stats.instances()?)));
        let help = "Time that a component worked on a request, its own waits included";
        let mut family = to.encode_descriptor("guest_duration_seconds", help, None, MetricType::Histogram)?;
        for (service, instances) in services() {
            distributed(&mut family, &[service.label()], &instances.worked)?;
        }
        let help = "Time that a request waited for a fresh instance; a warm one is there at once";
        let mut family = to.encode_descriptor("instance_wait_seconds", help, None, MetricType::Histogram)?;
        for (service, instances) in services() {
            distributed(&mut family, &[service.label()], &instances.made)?;
        }
        Ok(())
    }

    fn pools(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let pools: Vec<_> =
            self.services.iter().filter_map(|service| Some((service, service.stats.pool()?))).collect();
        let help = "Time that a statement waited for a connection";
        let mut family = to.encode_descriptor("pool_wait_seconds", help, None, MetricType::Histogram)?;
        for (service, pool) in &pools {
            distributed(&mut family, &[service.label()], pool.waits())?;
        }
        let mut family = gauge(to, "pool_connections", "Connections to Postgres, by state")?;
        for (service, pool) in &pools {
            let (open, idle) = pool.connections();
            gauged(&mut family, &[service.label(), ("state", "idle")], idle as u64)?;
            gauged(&mut family, &[service.label(), ("state", "busy")], open.saturating_sub(idle) as u64)?;
        }
        let mut family = gauge(to, "pool_connections_max", "Connections to Postgres that there may be")?;
        for (service, pool) in &pools {
            gauged(&mut family, &[service.label()], pool.connections_max() as u64)?;
        }
        Ok(())
    }

    fn spans(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let Some(spans) = &self.spans else { return Ok(()) };
        let help = "Spans that the collector has, that found the queue full, and that it did not take";
        let mut family = counter(to, "spans", help)?;
        for (result, count) in
            [("exported", &spans.exported), ("dropped", &spans.dropped), ("failed", &spans.failed)]
        {
            counted(&mut family, &[("result", result)], count.load(Relaxed))?;
        }
        Ok(())
    }

    /// Services without a near cache have only the first of these.
    fn near(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let help = "Cache hits that were answered from the host's memory";
        let mut family = counter(to, "cache_near_hits", help)?;
        for service in &self.services {
            counted(&mut family, &[service.label()], service.stats.near().hits.load(Relaxed))?;
        }
        let usages: Vec<(&ServiceScrape, NearUsage)> = self
            .services
            .iter()
            .filter_map(|service| Some((service, service.stats.near().usage()?)))
            .collect();
        let help = "Times that everything near was dropped at once";
        let mut family = counter(to, "cache_near_flushes", help)?;
        for (service, usage) in &usages {
            counted(&mut family, &[service.label()], usage.flushes)?;
        }
        let gauges: [(&str, &str, NearGauge); 3] = [
            ("cache_near_entries", "Values in the host's memory", |usage| usage.entries),
            ("cache_near_bytes", "What these count for", |usage| usage.bytes),
            ("cache_near_trusted", "1 if the host's memory is used", |usage| usage.trusted.into()),
        ];
        for (name, help, read) in gauges {
            let mut family = gauge(to, name, help)?;
            for (service, usage) in &usages {
                gauged(&mut family, &[service.label()], read(usage))?;
            }
        }
        Ok(())
    }

    fn own(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let help = "Events that a service counts by itself, by the name that it has for them";
        let mut family = counter(to, "service_events", help)?;
        for service in &self.services {
            for (event, count) in service.stats.own_events().read() {
                counted(&mut family, &[service.label(), ("event", &event)], count)?;
            }
        }
        let help = "Turns of services in the background that this host gave, by how they ended";
        let mut family = counter(to, "background_turns", help)?;
        for service in &self.services {
            for (outcome, count) in service.stats.turns().outcomes() {
                counted(&mut family, &[service.label(), ("outcome", outcome)], count)?;
            }
        }
        let mut family = counter(to, "background_turn_seconds", "The time that these turns took together")?;
        for service in &self.services {
            let took_s = service.stats.turns().took().as_secs_f64();
            family.encode_family(&[service.label()])?.encode_counter::<NoLabelSet, _, f64>(&took_s, None)?;
        }
        let help = "Work that a service cannot end by itself, and that waits for an operator; every host says the same";
        let mut family = gauge(to, "background_parked", help)?;
        for service in &self.services {
            gauged(&mut family, &[service.label()], service.stats.turns().parked())?;
        }
        Ok(())
    }

    fn connections(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let stats = &self.connections;
        gauge(to, "connections_open", "Client connections open")?.encode_gauge(&stats.open.load(Relaxed))?;
        let counters = [
            ("connections_accepted", "Connections accepted", &stats.accepted),
            ("connections_turned_away", "Connections refused: there were too many", &stats.turned_away),
            ("connections_timed_out", "Connections ended because the client was slow", &stats.timed_out),
            ("connections_aborted", "Connections cut off at the end of a drain", &stats.aborted),
            ("tls_handshakes_failed", "TLS handshakes that failed", &stats.handshakes_failed),
        ];
        for (name, help, count) in counters {
            counter(to, name, help)?.encode_counter::<NoLabelSet, _, u64>(&count.load(Relaxed), None)?;
        }
        Ok(())
    }

    fn each_route(
        &self,
        mut visit: impl FnMut(&str, &str, Origin, &RouteStats) -> fmt::Result,
    ) -> fmt::Result {
        visit("", "", Origin::Client, &self.unrouted)?;
        for service in &self.services {
            for (route, stats) in service.stats.routes() {
                for origin in Origin::ALL {
                    visit(service.stats.service(), &route, origin, &stats)?;
                }
            }
        }
        Ok(())
    }
}

impl ServiceScrape {
    fn label(&self) -> (&'static str, &str) {
        ("service", self.stats.service())
    }
}

pub(super) fn counter<'a>(
    to: &'a mut DescriptorEncoder,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    to.encode_descriptor(name, help, None, MetricType::Counter)
}

pub(super) fn gauge<'a>(
    to: &'a mut DescriptorEncoder,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    to.encode_descriptor(name, help, None, MetricType::Gauge)
}

pub(super) fn counted<const N: usize>(
    family: &mut MetricEncoder,
    labels: &[(&str, &str); N],
    count: u64,
) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)
}

/// The count is the buckets' sum, so that a scrape agrees with itself while requests come
/// in.
fn distributed<const N: usize>(
    family: &mut MetricEncoder,
    labels: &[(&str, &str); N],
    latency: &Latency,
) -> fmt::Result {
    let buckets = latency.prometheus_buckets();
    let count = buckets.iter().map(|(_, count)| count).sum();
    family.encode_family(labels)?.encode_histogram::<NoLabelSet>(latency.sum_s(), count, &buckets, None)
}

pub(super) fn gauged<const N: usize>(
    family: &mut MetricEncoder,
    labels: &[(&str, &str); N],
    value: u64,
) -> fmt::Result {
    family.encode_family(labels)?.encode_gauge(&value)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Method, StatusCode};

    use super::*;
    use crate::policy::auth::Denied;
    use crate::runtime::Failure;
    use crate::telemetry::DecidedBy;
    use crate::telemetry::trace::TraceContext;

    fn scrape(format: Format) -> String {
        let stats = Arc::new(ServiceStats::new("users".into(), Arc::default()));
        let route = stats.route("/api/v1/users/{id}");
        route.record(Origin::Client, &Method::GET, StatusCode::OK, Duration::from_micros(100));
        route.record(Origin::Client, &Method::GET, StatusCode::OK, Duration::from_secs(60));
        route.record(Origin::Service, &Method::GET, StatusCode::NOT_FOUND, Duration::from_micros(100));
        stats.failed(&Failure::Saturated { limit: 1 });
        stats.limits().count(DecidedBy::Host, false);
        stats.denied(&Denied::NoRole("admin".into()));
        let trace = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let took = Duration::from_micros(100);
        route.exemplify(Origin::Client, &Method::GET, took, trace.trace_id());
        let spans = Arc::<SpanCounters>::default();
        spans.dropped.store(4, Relaxed);
        let unrouted = Arc::new(RouteStats::default());
        unrouted.record(Origin::Client, &Method::GET, StatusCode::NOT_FOUND, Duration::ZERO);
        let service = ServiceScrape {
            stats,
            version: "0123456789ab".into(),
            instances_warm: 3,
            instances_busy: 1,
            instances_retired: 2,
            concurrency_max: 256,
        };
        let connections = Arc::new(ConnectionStats::default());
        connections.open.store(7, Relaxed);
        Scrape { unrouted, services: vec![service], connections, spans: Some(spans), ..Scrape::default() }
            .render(format)
    }

    #[test]
    fn a_scrape_has_each_number_once_under_its_labels() {
        let text = scrape(Format::OpenMetrics);
        for line in [
            r#"wasmyard_requests_total{service="",route="",method="GET",status="404",origin="client"} 1"#,
            r#"wasmyard_requests_total{service="users",route="/api/v1/users/{id}",method="GET",status="200",origin="client"} 2"#,
            r#"wasmyard_requests_total{service="users",route="/api/v1/users/{id}",method="GET",status="404",origin="service"} 1"#,
            r#"wasmyard_requests_total{service="users",route="/api/v1/users/{id}",method="GET",status="500",origin="client"} 0"#,
            r#"wasmyard_request_duration_seconds_count{service="users",route="/api/v1/users/{id}",method="GET",origin="client"} 2"#,
            r#"wasmyard_request_duration_seconds_bucket{le="+Inf",service="users",route="/api/v1/users/{id}",method="GET",origin="client"} 2"#,
            r#"wasmyard_background_parked{service="users"} 0"#,
            r#"wasmyard_guest_failures_total{service="users",kind="saturated"} 1"#,
            r#"wasmyard_saturated_total{service="users"} 1"#,
            r#"wasmyard_cache_lookups_total{service="users",result="hit"} 0"#,
            r#"wasmyard_cache_near_hits_total{service="users"} 0"#,
            r#"wasmyard_rate_limit_decisions_total{service="users",by="host",result="refused"} 1"#,
            r#"wasmyard_rate_limit_decisions_total{service="users",by="redis",result="passed"} 0"#,
            r#"wasmyard_instances{service="users",state="warm"} 3"#,
            r#"wasmyard_version_active{service="users",version="0123456789ab"} 1"#,
            r#"wasmyard_instances_retired_total{service="users"} 2"#,
            r#"wasmyard_concurrency_max{service="users"} 256"#,
            r#"wasmyard_requests_denied_total{service="users",reason="no_role"} 1"#,
            r#"wasmyard_spans_total{result="dropped"} 4"#,
            "wasmyard_connections_open 7",
        ] {
            let times = text.lines().filter(|have| have == &line).count();
            assert_eq!(times, 1, "{line}\nin\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_recorded_request_is_the_exemplar_of_its_bucket() {
        let bucket = r#"wasmyard_request_duration_seconds_bucket{le="0.000128",service="users",route="/api/v1/users/{id}",method="GET",origin="client"} 1"#;
        let exemplar = format!("{bucket} # {{trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"}} 0.000100 ");
        let text = scrape(Format::OpenMetrics);
        assert_eq!(text.lines().filter(|line| line.starts_with(&exemplar)).count(), 1, "{text}");
        assert_eq!(text.matches(" # {").count(), 1, "{text}");
        let text = scrape(Format::Text);
        assert!(text.lines().any(|line| line == bucket) && !text.contains(" # {"), "{text}");
    }

    #[test]
    fn a_family_is_described_once() {
        for format in [Format::OpenMetrics, Format::Text] {
            described_once(&scrape(format));
        }
    }

    fn described_once(text: &str) {
        let mut described: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        let families = described.len();
        described.sort_unstable();
        described.dedup();
        assert_eq!(described.len(), families);
    }
}

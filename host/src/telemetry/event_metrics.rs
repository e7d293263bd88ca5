//! What a scrape reads of events.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::encoding::DescriptorEncoder;

use super::metrics::{counted, counter, gauge, gauged};
use crate::events::EventStats;

/// One number of a topic.
type Number = fn(&EventStats) -> &AtomicU64;

/// Writes the families of all topics.
pub(super) fn encode(topics: &[(String, Arc<EventStats>)], to: &mut DescriptorEncoder) -> fmt::Result {
    let mut family = gauge(to, "event_subscribers", "Subscribers now, by the way that they listen")?;
    for (topic, stats) in topics {
        for (form, count) in stats.open() {
            gauged(&mut family, &[("topic", topic.as_str()), ("form", form)], count)?;
        }
    }
    let help = "Subscribers that the host closed, by reason";
    let mut family = counter(to, "event_subscribers_closed", help)?;
    for (topic, stats) in topics {
        for (reason, count) in stats.ended() {
            counted(&mut family, &[("topic", topic.as_str()), ("reason", reason)], count)?;
        }
    }
    let counters: [(&str, &str, Number); 5] = [
        ("event_subscribers_refused", "Subscribers refused: there were too many", |stats| &stats.refused),
        ("events_received", "Events read of the stream", |stats| &stats.received),
        ("events_delivered", "Events sent to subscribers", |stats| &stats.delivered),
        ("event_gaps", "Gaps that subscribers were told of", |stats| &stats.gaps),
        ("outbox_moved", "Rows of the outbox that this host moved to the stream", |stats| &stats.moved),
    ];
    for (name, help, read) in counters {
        let mut family = counter(to, name, help)?;
        for (topic, stats) in topics {
            counted(&mut family, &[("topic", topic.as_str())], read(stats).load(Relaxed))?;
        }
    }
    let gauges: [(&str, &str, Number); 2] = [
        (
            "outbox_waiting",
            "Rows in the outbox when it was looked at last; of the host that moves them, or of all while Redis is away",
            |stats| &stats.waiting,
        ),
        ("outbox_relay", "1 for the host that moves the rows", |stats| &stats.filling),
    ];
    for (name, help, read) in gauges {
        let mut family = gauge(to, name, help)?;
        for (topic, stats) in topics {
            gauged(&mut family, &[("topic", topic.as_str())], read(stats).load(Relaxed))?;
        }
    }
    let help = "How long the oldest of the rows that were moved last had waited";
    let mut family = gauge(to, "outbox_lag_seconds", help)?;
    for (topic, stats) in topics {
        family.encode_family(&[("topic", topic.as_str())])?.encode_gauge(&stats.lag_s())?;
    }
    Ok(())
}

//! The events of one service: what is read, who is told, and by whom they are moved.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::hub::Hub;
use super::line::{Filter, Line};
use super::places::Places;
use super::relay::Relay;
use super::request::{Asked, Opening};
use super::stats::EventStats;
use super::stream::Stream;
use super::subscription::{Source, Subscription};
use super::traced::Traced;
use super::{origin, reader, refusal};
use crate::capability::postgres::OwnerSession;
use crate::capability::redis::RedisConnection;
use crate::limits::EVENTS_REPLAYS_MAX;
use crate::manifest::{Events, Manifest};
use crate::problem::Problem;
use crate::runtime::Identity;
use crate::telemetry::trace::Tracer;

/// The topics of a host, by the service that tells.
#[derive(Default)]
pub struct Topics {
    by_service: BTreeMap<String, Arc<Topic>>,
    /// Readers and relays; they end with this.
    tasks: JoinSet<()>,
}

/// One topic.
pub struct Topic {
    events: Events,
    source: Arc<Source>,
    places: Arc<Places>,
}

impl Topics {
    /// Those of the manifest: reads each stream, and moves the rows of the outbox when it is
    /// this host's turn. Redis may be down.
    ///
    /// # Errors
    /// A service has events, and there is no Postgres or no Redis.
    pub fn start(
        manifest: &Manifest,
        postgres_url: Option<&str>,
        redis: Option<&Arc<RedisConnection>>,
        tracer: Option<&Arc<Tracer>>,
    ) -> anyhow::Result<Self> {
        let mut topics = Self::default();
        for (service, events) in
            manifest.services.iter().filter_map(|(name, service)| Some((name, service.events.as_ref()?)))
        {
            let named = || format!("service {service} has events");
            let url = postgres_url.context("postgres.url is empty").with_context(named)?;
            let redis = redis.context("redis.url is empty").with_context(named)?;
            let topic = Arc::new(Topic::new(events.clone(), redis.clone()));
            let Source { hub, stream, stats, .. } = &*topic.source;
            let traced = tracer.map(|tracer| Traced {
                tracer: tracer.clone(),
                service: service.as_str().into(),
                topic: events.topic.as_str().into(),
            });
            topics.tasks.spawn(reader::read(stream.clone(), hub.clone(), traced.clone()));
            let relay = Relay {
                topic: events.topic.clone(),
                keep: events.keep,
                session: OwnerSession::new(url)?,
                stream: stream.clone(),
                stats: stats.clone(),
                traced,
            };
            topics.tasks.spawn(relay.run());
            topics.by_service.insert(service.clone(), topic);
        }
        Ok(topics)
    }

    /// The topic of a service.
    pub fn of(&self, service: &str) -> Option<&Arc<Topic>> {
        self.by_service.get(service)
    }

    /// What is counted, by topic.
    pub fn stats(&self) -> impl Iterator<Item = (&str, &Arc<EventStats>)> {
        self.by_service.values().map(|topic| (topic.events.topic.as_str(), &topic.source.stats))
    }

    /// Tells every subscriber that the host stops, and takes no more.
    pub fn close(&self) {
        self.by_service.values().for_each(|topic| topic.source.hub.closing().cancel());
    }
}

impl Topic {
    fn new(events: Events, redis: Arc<RedisConnection>) -> Self {
        let stats: Arc<EventStats> = Arc::default();
        let source = Source {
            hub: Arc::new(Hub::new(stats.clone())),
            stream: Arc::new(Stream::new(redis, &events.topic)),
            stats,
            replays: Semaphore::new(EVENTS_REPLAYS_MAX),
        };
        let places = Arc::new(Places::new(events.subscribers_max, events.subscribers_per_client_max));
        Self { events, source: Arc::new(source), places }
    }

    /// Begins a subscription for a caller whom the route has admitted.
    ///
    /// # Errors
    /// 403 for somebody else's page, 400 for parameters that are none, 429 and 503 when there
    /// are as many subscribers as there may be, 503 when the host stops.
    pub(crate) fn open(&self, opening: Opening<'_>) -> Result<Subscription, Problem> {
        if !origin::may_ask(opening.headers, opening.host, opening.secure, &self.events.origins) {
            return Err(refusal::foreign_origin());
        }
        let Asked { after, key } = Asked::read(&opening, &self.events)?;
        if self.source.hub.closing().is_cancelled() {
            return Err(refusal::stopping());
        }
        let stats = &self.source.stats;
        let place = self.places.take(opening.client).inspect_err(|_| stats.count_refused())?;
        let filter = Filter { subject: self.subject(opening.identity), key };
        let expires = opening.identity.and_then(|identity| identity.expires_at).map(instant);
        let entered = (stats.enter(opening.form), place);
        Ok(Subscription::new(self.source.clone(), Line::new(filter), after, expires, entered))
    }

    /// The subject whose events a caller sees. Nobody is known where the route lets everybody
    /// see everything, as in the local form.
    fn subject(&self, identity: Option<&Identity>) -> Option<Box<str>> {
        let identity = identity?;
        let sees_all = self.events.all.as_ref().is_some_and(|role| identity.roles.contains(role));
        (!sees_all).then(|| identity.subject.as_str().into())
    }
}

/// The same moment on the clock that nobody sets.
fn instant(unix_s: u64) -> Instant {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Instant::now() + Duration::from_secs(unix_s).saturating_sub(now)
}

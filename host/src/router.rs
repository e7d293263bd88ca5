//! Path to service.
//!
//! A [`Router`] is made whole from a manifest and never changed; a changed manifest
//! makes another one, which takes its place in one atomic step.
//!
//! Paths are matched as they were sent. There is no normalisation, so that two
//! readers of one path cannot disagree about what it names: a trailing slash, `//`,
//! `/../` or a percent-encoded letter of a template's fixed part is a path that no
//! route has, and is answered with 404. `{name}` stands for one segment of at least
//! one character, and is percent-decoded after the match, so `%2F` in it stays part
//! of the parameter.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::{HeaderValue, Method};
use percent_encoding::percent_decode_str;

use crate::capability::cache::{self, CacheCounters, NearEntry};
use crate::gateway::Documents;
use crate::limiter::{Limit, RouteLimits};
use crate::limits;
use crate::manifest;
use crate::policy::RouteCache;
use crate::policy::auth::Access;
use crate::runtime::{Answer, Description, Failure, Request, Service, VersionName};
use crate::telemetry::{RouteStats, ServiceStats};

/// The router in use. Whoever routes loads it anew for each request.
pub type CurrentRouter = ArcSwap<Router>;

/// What stands at the end of a route: a [`Service`], or a script in a test.
#[async_trait]
pub trait Handler: Send + Sync {
    /// The service's name.
    fn name(&self) -> &Arc<str>;

    /// Its limits at this moment.
    fn limits(&self) -> Arc<manifest::ServiceLimits>;

    /// What is counted for it.
    fn stats(&self) -> &Arc<ServiceStats>;

    /// What stands under a key of its cache in this host's memory, and the version that
    /// would be asked for it. The look is not counted.
    fn near(&self, _key: &str) -> Option<Near> {
        None
    }

    /// The same of what the cache's store has under the key.
    async fn read(&self, _key: &str) -> Option<Read> {
        None
    }

    /// What its active version says of its own API.
    async fn description(&self) -> Option<Arc<Description>> {
        None
    }

    /// Answers a request by its deadline.
    async fn handle(&self, request: Request) -> Result<Answer, Failure>;
}

#[async_trait]
impl Handler for Service {
    fn name(&self) -> &Arc<str> {
        self.name()
    }

    fn limits(&self) -> Arc<manifest::ServiceLimits> {
        self.limits()
    }

    fn stats(&self) -> &Arc<ServiceStats> {
        self.stats()
    }

    fn near(&self, key: &str) -> Option<Near> {
        self.near(key)
    }

    async fn read(&self, key: &str) -> Option<Read> {
        self.read(key).await
    }

    async fn description(&self) -> Option<Arc<Description>> {
        self.description().await
    }

    async fn handle(&self, request: Request) -> Result<Answer, Failure> {
        self.handle(request).await
    }
}

/// A value in this host's memory, as the active version of a service may see it.
pub struct Near {
    /// The value.
    pub entry: Arc<NearEntry>,
    /// The active version.
    pub version: VersionName,
    /// Where its use is counted.
    pub counters: Arc<CacheCounters>,
}

/// What a service's cache has under a key.
pub struct Read {
    /// The value, or that there is none.
    pub found: cache::Found,
    /// The active version.
    pub version: VersionName,
    /// Where its use is counted.
    pub counters: Arc<CacheCounters>,
}

/// All routes of a manifest, with the services at their ends.
#[derive(Default)]
pub struct Router {
    public: Table,
    services: Vec<Entrance>,
    by_name: HashMap<Arc<str>, usize>,
    settings: Settings,
    /// The descriptions of these routes, as they were last asked for.
    documents: Documents,
}

/// A service, and what of it is reached from where.
struct Entrance {
    handler: Arc<dyn Handler>,
    /// At its own port.
    direct: Table,
    /// By calls from other services.
    internal: Table,
}

/// What the manifest says about every request, whichever service it is for. It is
/// kept with the routes so that both change in the same step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `server.health_path`.
    pub health_path: String,
    /// `server.docs_path`.
    pub docs_path: Option<String>,
    /// `server.limits.body_timeout_ms`.
    pub body_timeout: Duration,
    /// `server.trusted_proxies` and `server.proxy_field`.
    pub proxies: manifest::Proxies,
    /// Whether this is the local form, where `local_auth` holds.
    pub local: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            health_path: String::new(),
            docs_path: None,
            body_timeout: limits::BODY_TIMEOUT,
            proxies: manifest::Proxies::default(),
            local: false,
        }
    }
}

impl Settings {
    /// What a manifest says, in the local form or elsewhere.
    pub fn of(server: &manifest::Server, local: bool) -> Self {
        Self {
            health_path: server.health_path.clone(),
            docs_path: server.docs_path.clone(),
            body_timeout: server.limits.body_timeout,
            proxies: server.proxies.clone(),
            local,
        }
    }
}

/// A template that cannot stand beside another one, or is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("route {path:?} of service {service:?}: {reason}")]
pub struct RouteConflict {
    /// The service that has the route.
    pub service: String,
    /// The template.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Router {
    /// A router over `services`, each with its part of the manifest.
    ///
    /// # Errors
    /// Two services with the same template, or a template that is none. The manifest
    /// has been checked for that, with line numbers; this is the last gate.
    pub fn new<'m>(
        settings: Settings,
        services: impl IntoIterator<Item = (&'m manifest::Service, Arc<dyn Handler>)>,
    ) -> Result<Self, RouteConflict> {
        let mut router = Self { settings, ..Self::default() };
        let local = router.settings.local;
        for (service, handler) in services {
            let (mut direct, mut internal) = (Table::default(), Table::default());
            let health = health();
            let limit = service.rate_limit.as_ref();
            let limit = limit.map(|limit| Arc::new(Limit::of_service(&service.name, limit)));
            let own = service.direct.iter().flat_map(|direct| &direct.routes);
            for route in service.routes.iter().chain(own) {
                direct.add(&handler, route, limit.as_ref(), local)?;
                internal.add(&handler, route, limit.as_ref(), local)?;
            }
            direct.add(&handler, &health, None, local)?;
            internal.add(&handler, &health, None, local)?;
            // Who calls here has been counted where the call came from.
            for route in &service.internal {
                internal.add(&handler, route, None, local)?;
            }
            for route in &service.routes {
                router.public.add(&handler, route, limit.as_ref(), local)?;
            }
            if let Some(topic) = &service.events {
                direct.tell(handler.name(), topic);
                router.public.tell(handler.name(), topic);
            }
            router.by_name.insert(handler.name().clone(), router.services.len());
            router.services.push(Entrance { handler, direct, internal });
        }
        Ok(router)
    }

    /// What holds for every request.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The routes of all services: what the public listener answers.
    pub fn public(&self) -> &Table {
        &self.public
    }

    /// The routes of one service, its direct ones and `/health` among them: what its
    /// own port reaches. `None` when there is no service of that name.
    pub fn of(&self, service: &str) -> Option<&Table> {
        self.by_name.get(service).map(|&index| &self.services[index].direct)
    }

    /// The same and its internal ones: what calls from other services reach.
    pub fn internal(&self, service: &str) -> Option<&Table> {
        self.by_name.get(service).map(|&index| &self.services[index].internal)
    }

    /// The descriptions of these routes, as they were last asked for.
    pub(crate) fn documents(&self) -> &Documents {
        &self.documents
    }

    /// The services, in the manifest's order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<dyn Handler>> {
        self.services.iter().map(|entrance| &entrance.handler)
    }
}

/// Where every service answers for its own health, whether or not the manifest names
/// it: deploys and `server.health_path` ask there.
pub const HEALTH_PATH: &str = "/health";

fn health() -> manifest::Route {
    let methods = vec!["GET".to_owned()];
    manifest::Route { path: HEALTH_PATH.to_owned(), methods, ..manifest::Route::default() }
}

/// The routes that can be reached at one door.
#[derive(Default)]
pub struct Table {
    paths: matchit::Router<usize>,
    endpoints: Vec<Arc<Endpoint>>,
}

/// One template of one service.
#[derive(Clone)]
pub struct Endpoint {
    /// The service.
    pub handler: Arc<dyn Handler>,
    /// The template, as the manifest has it.
    pub route: Arc<str>,
    /// The names of its parameters, in its order.
    pub params: Vec<Arc<str>>,
    /// The methods it answers, without HEAD and OPTIONS, which follow from them.
    pub methods: Vec<Method>,
    /// The key of a GET's answer, where the manifest declares it as cached, and the headers
    /// of the answers that were given.
    pub cache: Option<Arc<RouteCache>>,
    /// The limit of each method that has one: the route's, or else the service's. Both doors
    /// of a service lead to the same buckets.
    pub limits: RouteLimits,
    /// How the host answers with the service's events, where it does.
    pub events: Option<manifest::EventForm>,
    /// What these events are, where it does.
    pub topic: Option<Arc<manifest::Events>>,
    /// Who may ask, for the methods that do not take everybody.
    access: Vec<(Method, Access)>,
    /// The value of `Allow` (RFC 9110, section 10.2.1).
    pub allow: HeaderValue,
    /// What is counted for it.
    pub stats: Arc<RouteStats>,
}

/// What a path and a method lead to.
pub enum Match {
    /// To a route.
    Found(Found),
    /// To a template that does not answer this method.
    MethodNotAllowed(Arc<Endpoint>),
    /// To a template, by OPTIONS: the host answers with what the template allows.
    Options(Arc<Endpoint>),
    /// To a template, with a parameter that is not text.
    BadParameter(Arc<Endpoint>, &'static str),
    /// Nowhere.
    NotFound,
}

/// A route, with what the guest is told of the match.
pub struct Found {
    /// The route.
    pub endpoint: Arc<Endpoint>,
    /// The template's parameters in its order, percent-decoded.
    pub params: Vec<(Arc<str>, String)>,
    /// The method as the guest sees it: HEAD has become GET.
    pub method: Method,
}

impl Table {
    /// The routes, in the manifest's order.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().map(|endpoint| &**endpoint)
    }

    /// Finds the route for a path as it was sent.
    pub fn find(&self, method: &Method, path: &str) -> Match {
        let Ok(matched) = self.paths.at(path) else { return Match::NotFound };
        let endpoint = self.endpoints[*matched.value].clone();
        if method == Method::OPTIONS {
            return Match::Options(endpoint);
        }
        let as_guest_sees_it = if method == Method::HEAD { &Method::GET } else { method };
        if !endpoint.methods.contains(as_guest_sees_it) {
            return Match::MethodNotAllowed(endpoint);
        }
        let decoded = matched.params.iter().map(|(_, value)| decode(value));
        let params: Result<_, _> =
            endpoint.params.iter().zip(decoded).map(|(name, value)| Ok((name.clone(), value?))).collect();
        match params {
            Ok(params) => Match::Found(Found { endpoint, params, method: as_guest_sees_it.clone() }),
            Err(reason) => Match::BadParameter(endpoint, reason),
        }
    }

    /// Notes the topic at the routes that lead to a service's events.
    fn tell(&mut self, service: &str, topic: &manifest::Events) {
        let topic = Arc::new(topic.clone());
        for endpoint in self.endpoints.iter_mut().filter(|endpoint| **endpoint.handler.name() == *service) {
            if endpoint.events.is_some() {
                Arc::make_mut(endpoint).topic = Some(topic.clone());
            }
        }
    }

    fn add(
        &mut self,
        handler: &Arc<dyn Handler>,
        route: &manifest::Route,
        service_limit: Option<&Arc<Limit>>,
        local: bool,
    ) -> Result<(), RouteConflict> {
        let path = route.path.as_str();
        let conflict = |reason: String| RouteConflict {
            service: handler.name().to_string(),
            path: path.to_owned(),
            reason,
        };
        let cache = route.cache.as_ref().map(|template| Arc::new(RouteCache::new(template, path)));
        let methods = route
            .methods
            .iter()
            .map(|name| {
                Method::from_bytes(name.as_bytes()).map_err(|_| conflict(format!("{name:?} is no method")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let limits = route_limits(handler.name(), route, &methods, service_limit);

        let known = self.endpoints.iter().position(|known| &*known.route == path);
        if let Some(known) = known {
            let endpoint = Arc::make_mut(&mut self.endpoints[known]);
            if endpoint.handler.name() != handler.name() {
                return Err(conflict(format!("service {:?} has it too", endpoint.handler.name())));
            }
            endpoint.extend(methods, &route.auth, local);
            endpoint.cache = cache.or(endpoint.cache.take());
            endpoint.limits.extend(limits);
            return Ok(());
        }

        self.paths.insert(path, self.endpoints.len()).map_err(|error| conflict(error.to_string()))?;
        let mut endpoint = Endpoint {
            handler: handler.clone(),
            route: path.into(),
            params: manifest::parameters(path).map(Into::into).collect(),
            methods: Vec::new(),
            cache,
            limits,
            events: route.events,
            topic: None,
            access: Vec::new(),
            allow: HeaderValue::from_static("OPTIONS"),
            stats: handler.stats().route(path),
        };
        endpoint.extend(methods, &route.auth, local);
        self.endpoints.push(Arc::new(endpoint));
        Ok(())
    }
}

impl Endpoint {
    /// The limit that requests of this method count towards.
    pub fn limit(&self, method: &Method) -> Option<&Arc<Limit>> {
        self.limits.iter().find(|(limited, _)| limited == method).map(|(_, limit)| limit)
    }

    /// Who may ask it by this method; HEAD has become GET.
    pub fn access(&self, method: &Method) -> &Access {
        static EVERYBODY: Access = Access::EVERYBODY;
        self.access.iter().find(|(known, _)| known == method).map_or(&EVERYBODY, |(_, access)| access)
    }

    fn extend(&mut self, methods: Vec<Method>, auth: &manifest::RouteAuth, local: bool) {
        for method in methods {
            let implied = [Method::HEAD, Method::OPTIONS].contains(&method);
            if !implied && !self.methods.contains(&method) {
                let access = Access::of(auth, method.as_str(), local);
                if access != Access::EVERYBODY {
                    self.access.push((method.clone(), access));
                }
                self.methods.push(method);
            }
        }
        let mut allow: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
        if let Some(get) = allow.iter().position(|name| *name == "GET") {
            allow.insert(get + 1, "HEAD");
        }
        allow.push("OPTIONS");
        // A method is a token, and tokens are legal in a field's value.
        if let Ok(value) = HeaderValue::from_str(&allow.join(", ")) {
            self.allow = value;
        }
    }
}

/// The limits of a route's methods: its own for those that it names, and the service's for
/// the others. Whoever asks a service for its health is not limited: it may be a balancer
/// that takes a refusal for an illness.
fn route_limits(
    service: &str,
    route: &manifest::Route,
    methods: &[Method],
    service_limit: Option<&Arc<Limit>>,
) -> RouteLimits {
    let own = route.rate_limit.as_ref().map(|limit| {
        let named = if limit.methods.is_empty() { &route.methods } else { &limit.methods };
        (named, Arc::new(Limit::of_route(service, named, &route.path, limit)))
    });
    let limit_of = |method: &Method| match &own {
        Some((named, limit)) if named.iter().any(|name| name == method.as_str()) => Some(limit.clone()),
        _ => service_limit.filter(|_| route.path != HEALTH_PATH).cloned(),
    };
    methods.iter().filter_map(|method| Some((method.clone(), limit_of(method)?))).collect()
}

/// Decodes a parameter. What is not UTF-8 names nothing that a service could hold,
/// and a NUL would end a string in somebody's C.
fn decode(value: &str) -> Result<String, &'static str> {
    let decoded =
        percent_decode_str(value).decode_utf8().map_err(|_| "a segment of the path is not UTF-8")?;
    if decoded.contains('\0') {
        return Err("a segment of the path has a NUL in it");
    }
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests;

//! `[services.NAME]`.

use super::backend::existing_file;
use super::grant::{self, ReadGrants};
use super::reader::{Reading, Table, Text};
use super::route::{self, ReadRoute};
use super::{Direct, Isolation, Runtime, Service, ServiceLimits, background, events, rate_limit};
use crate::limits;

/// A service with the places that the checks between services point to.
#[derive(Clone)]
pub(super) struct ReadService {
    pub(super) service: Service,
    pub(super) routes: Vec<ReadRoute>,
    pub(super) direct_routes: Vec<ReadRoute>,
    pub(super) internal_routes: Vec<ReadRoute>,
    pub(super) direct_port: std::ops::Range<usize>,
    pub(super) granted_services: Vec<Text>,
    pub(super) topic: Option<Text>,
}

/// Reads every service, in name order.
pub(super) fn read_all(reading: &Reading<'_>, root: &Table<'_, '_>, runtime: &Runtime) -> Vec<ReadService> {
    let services = root.named_tables("services");
    services.into_iter().map(|(name, table)| read(reading, &name, table, runtime)).collect()
}

/// Whether a service may have this name: it is part of DNS names, file names and
/// metric labels.
pub fn is_service_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn read(reading: &Reading<'_>, name: &Text, table: Table<'_, '_>, runtime: &Runtime) -> ReadService {
    if !is_service_name(&name.value) {
        let message = format!("{} is no name for a service", name.shown());
        let help =
            "a name has lower-case letters, digits and hyphens, begins with a letter, and has at most 63";
        reading.record(reading.fault(&name.span, message).help(help));
    }
    let build = build(reading, &table);
    let component = table.required_text("component", "\"target/users.wasm\"");
    let component = component.map(|text| match build {
        Some(_) => reading.dir.join(&text.value),
        None => existing_file(reading, &text, &table.full("component")),
    });
    let routes = route::read_all(reading, &table, "routes", runtime.hosts).unwrap_or_else(|| {
        table.missing("routes", "[{ path = \"/api/v1/things\", methods = [\"GET\"] }]");
        Vec::new()
    });
    let direct = table.table("direct").map(|table| direct(reading, table, runtime.hosts));
    let internal_routes = route::read_all(reading, &table, "internal", runtime.hosts).unwrap_or_default();
    let limits = read_limits(&table, runtime);
    let ReadGrants { grants, services } = grant::read(reading, &table, limits.request_timeout);
    route::check_granted(reading, &routes, grants.cache.as_ref());
    if let Some((_, routes, _)) = &direct {
        route::check_granted(reading, routes, grants.cache.as_ref());
    }
    route::check_granted(reading, &internal_routes, grants.cache.as_ref());
    let (told, topic) = events::read(reading, &table).unzip();
    events::check(reading, told.as_ref(), &routes, true);
    for routes in [direct.as_ref().map(|(_, routes, _)| routes), Some(&internal_routes)].into_iter().flatten()
    {
        events::check(reading, told.as_ref(), routes, false);
    }
    let service = Service {
        name: name.value.clone(),
        component: component.unwrap_or_default(),
        build,
        routes: routes.iter().map(|read| read.route.clone()).collect(),
        direct: direct.as_ref().map(|(direct, _, _)| direct.clone()),
        internal: internal_routes.iter().map(|read| read.route.clone()).collect(),
        grants,
        limits,
        rate_limit: rate_limit::read(reading, &table, None, runtime.hosts),
        events: told,
        background: background::read(reading, &table),
        isolation: isolation(reading, &table),
        settings: table
            .named_texts("settings")
            .into_iter()
            .map(|(name, text)| (name.value, text.value))
            .collect(),
    };
    table.finish();
    let (direct_routes, direct_port) = direct.map_or((Vec::new(), 0..0), |(_, routes, port)| (routes, port));
    ReadService {
        service,
        routes,
        direct_routes,
        internal_routes,
        direct_port,
        granted_services: services,
        topic: topic.flatten(),
    }
}

fn build(reading: &Reading<'_>, table: &Table<'_, '_>) -> Option<Vec<String>> {
    let command = table.texts("build")?;
    if command.first().is_none_or(|program| program.value.is_empty()) {
        let message = format!("`{}` names no program", table.full("build"));
        let fault = reading.fault(&table.value_span("build"), message);
        reading.record(fault.help("for example: build = [\"cargo\", \"build\", \"--package\", \"users\"]"));
    }
    Some(command.into_iter().map(|part| part.value).collect())
}

type ReadDirect = (Direct, Vec<ReadRoute>, std::ops::Range<usize>);

fn direct(reading: &Reading<'_>, table: Table<'_, '_>, hosts: u32) -> ReadDirect {
    let port = table.number("port", &limits::PORTS);
    if port.is_none() && table.value_span("port") == table.span {
        table.missing("port", "5000");
    }
    let routes = route::read_all(reading, &table, "routes", hosts).unwrap_or_default();
    let span = table.value_span("port");
    table.finish();
    let direct = Direct {
        port: port.and_then(|port| port.try_into().ok()).unwrap_or_default(),
        routes: routes.iter().map(|read| read.route.clone()).collect(),
    };
    (direct, routes, span)
}

fn isolation(reading: &Reading<'_>, table: &Table<'_, '_>) -> Isolation {
    let Some(text) = table.text("isolation") else { return Isolation::default() };
    match text.value.as_str() {
        "instance" => Isolation::Instance,
        "request" => Isolation::Request,
        _ => {
            let fault = reading
                .fault(&text.span, format!("unknown isolation {}", text.shown()))
                .nearest(&text.value, ["instance", "request"])
                .help("valid: \"instance\" (reused, one request at a time), \"request\" (a fresh one each time)");
            reading.record(fault);
            Isolation::default()
        }
    }
}

fn read_limits(service: &Table<'_, '_>, runtime: &Runtime) -> ServiceLimits {
    // No more requests at once than there are instances for them.
    let instances_max = runtime.instances_max;
    let concurrency_max = limits::CONCURRENCY_MAX.min(instances_max as usize);
    let Some(table) = service.table("limits") else {
        return ServiceLimits { concurrency_max, ..ServiceLimits::default() };
    };
    let memory_mib = table.integer("memory_mib", limits::MEMORIES_MIB, limits::MEMORY_MIB);
    let read = ServiceLimits {
        memory_mib,
        request_timeout: table.millis("request_timeout_ms", limits::TIMEOUTS_MS, limits::REQUEST_TIMEOUT),
        concurrency_max: table.integer("concurrency_max", 1..=u64::from(instances_max), concurrency_max),
        request_body_bytes_max: table.integer(
            "request_body_bytes_max",
            limits::BODY_BYTES,
            limits::REQUEST_BODY_BYTES_MAX,
        ),
        response_body_bytes_max: table.integer(
            "response_body_bytes_max",
            limits::BODY_BYTES,
            limits::RESPONSE_BODY_BYTES_MAX,
        ),
        call_depth_max: table.integer("call_depth_max", limits::CALL_DEPTHS, limits::CALL_DEPTH_MAX),
        instance_requests_max: table.integer(
            "instance_requests_max",
            limits::INSTANCE_REQUESTS,
            limits::INSTANCE_REQUESTS_MAX,
        ),
        instance_memory_mark_mib: table.integer(
            "instance_memory_mark_mib",
            1..=u64::from(memory_mib),
            limits::INSTANCE_MEMORY_MARK_MIB.min(memory_mib),
        ),
    };
    table.finish();
    read
}

impl Default for ServiceLimits {
    fn default() -> Self {
        Self {
            memory_mib: limits::MEMORY_MIB,
            request_timeout: limits::REQUEST_TIMEOUT,
            concurrency_max: limits::CONCURRENCY_MAX,
            request_body_bytes_max: limits::REQUEST_BODY_BYTES_MAX,
            response_body_bytes_max: limits::RESPONSE_BODY_BYTES_MAX,
            call_depth_max: limits::CALL_DEPTH_MAX,
            instance_requests_max: limits::INSTANCE_REQUESTS_MAX,
            instance_memory_mark_mib: limits::INSTANCE_MEMORY_MARK_MIB,
        }
    }
}

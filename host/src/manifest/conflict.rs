//! What is right for itself, and wrong together: routes, ports, names.

use std::ops::Range;

use super::Manifest;
use super::reader::{Reading, Table};
use super::route::ReadRoute;
use super::service::ReadService;
use crate::policy::auth::JWKS_PATH;

/// Checks the parts of a manifest against each other.
pub(super) fn check(
    reading: &Reading<'_>,
    root: &Table<'_, '_>,
    manifest: &Manifest,
    services: &[ReadService],
) {
    check_ports(reading, root, manifest, services);
    check_routes(reading, manifest, services);
    check_topics(reading, services);
    for read in services {
        for granted in &read.granted_services {
            if !manifest.services.contains_key(&granted.value) {
                let message =
                    format!("`{}` may not call {}: no such service", read.service.name, granted.shown());
                let names: Vec<&str> = manifest.services.keys().map(String::as_str).collect();
                let fault = reading
                    .fault(&granted.span, message)
                    .nearest(&granted.value, names.iter().copied())
                    .help(format!("services: {}", names.join(", ")));
                reading.record(fault);
            }
        }
    }
}

/// A topic is told by one service, and so has one relay on each host.
fn check_topics(reading: &Reading<'_>, services: &[ReadService]) {
    let topics = services.iter().filter_map(|read| Some((&read.service.name, read.topic.as_ref()?)));
    let mut topics: Vec<_> = topics.collect();
    topics.sort_by_key(|(_, topic)| topic.span.start);
    for (index, (_, topic)) in topics.iter().enumerate() {
        if let Some((other, _)) = topics[..index].iter().find(|(_, other)| other.value == topic.value) {
            let message = format!("the topic {} is already told by the service `{other}`", topic.shown());
            reading.record(reading.fault(&topic.span, message).hint("choose another name"));
        }
    }
}

/// Each port has one use. Port 0 takes any free one, so it never collides.
fn check_ports(reading: &Reading<'_>, root: &Table<'_, '_>, manifest: &Manifest, services: &[ReadService]) {
    let (server, admin) = (root.table("server"), root.table("admin"));
    let span_in =
        |table: &Option<Table<'_, '_>>, key: &str| table.as_ref().map_or(0..0, |table| table.value_span(key));
    let mut uses: Vec<(u16, String, Range<usize>)> = vec![
        (manifest.server.https_port, "server.https_port".into(), span_in(&server, "https_port")),
        (manifest.server.http_port.unwrap_or(0), "server.http_port".into(), span_in(&server, "http_port")),
        (manifest.admin.port, "admin.port".into(), span_in(&admin, "port")),
    ];
    for read in services {
        if let Some(direct) = &read.service.direct {
            let name = format!("services.{}.direct.port", read.service.name);
            uses.push((direct.port, name, read.direct_port.clone()));
        }
    }
    // The later one in the file is at fault; a default stands before all.
    uses.sort_by_key(|(_, _, span)| span.start);
    for (index, (port, name, span)) in uses.iter().enumerate() {
        if let Some((_, taken_by, _)) = uses[..index].iter().find(|(other, ..)| other == port && *port != 0) {
            let message = format!("`{name}`: port {port} is already `{taken_by}`");
            reading.record(reading.fault(span, message).hint("choose another port"));
        }
    }
}

struct Claim<'a> {
    service: &'a str,
    read: &'a ReadRoute,
}

fn check_routes(reading: &Reading<'_>, manifest: &Manifest, services: &[ReadService]) {
    let mut public: Vec<Claim<'_>> = Vec::new();
    for read in services {
        let service = read.service.name.as_str();
        public.extend(read.routes.iter().map(|read| Claim { service, read }));
        // The direct port is a world of its own, and so is what other services reach:
        // this service's routes and no other.
        let mut own: Vec<Claim<'_>> = Vec::new();
        for routes in [&read.routes, &read.direct_routes, &read.internal_routes] {
            own.extend(routes.iter().map(|read| Claim { service, read }));
        }
        for index in read.routes.len()..own.len() {
            check_claim(reading, &own, index);
        }
    }
    public.sort_by_key(|claim| claim.read.path.span.start);
    for (index, claim) in public.iter().enumerate() {
        if claim.read.route.path == manifest.server.health_path {
            let message =
                format!("the route {} is reserved for `server.health_path`", claim.read.path.shown());
            reading.record(reading.fault(&claim.read.path.span, message));
        }
        let docs = manifest.server.docs_path.as_deref();
        let below = docs.and_then(|docs| claim.read.route.path.strip_prefix(docs));
        if below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            let message = format!("the route {} is reserved for `server.docs_path`", claim.read.path.shown());
            reading.record(reading.fault(&claim.read.path.span, message));
        }
        if claim.read.route.path == JWKS_PATH {
            let message = format!("the route {} is the host's own", claim.read.path.shown());
            reading.record(reading.fault(&claim.read.path.span, message));
        }
        check_claim(reading, &public, index);
    }
}

/// Reports a route that takes requests from one that stands before it.
fn check_claim(reading: &Reading<'_>, claims: &[Claim<'_>], index: usize) {
    let this = &claims[index];
    for other in &claims[..index] {
        if let Some(reason) = overlap(other, this) {
            let place = reading.source.place(other.read.path.span.start);
            let message = format!(
                "the route {} of `{}` overlaps with {} of `{}`: {reason}",
                this.read.path.shown(),
                this.service,
                other.read.path.shown(),
                other.service,
            );
            let fault = reading.fault(&this.read.path.span, message);
            reading.record(fault.help(format!(
                "the other one is at {}:{}:{}",
                reading.source.path, place.line, place.column
            )));
            return;
        }
    }
}

/// Why two routes cannot stand side by side. A template and a plain path may: the
/// plain path is the more specific one and goes first.
fn overlap(first: &Claim<'_>, second: &Claim<'_>) -> Option<&'static str> {
    let (first_path, second_path) = (&first.read.route.path, &second.read.route.path);
    let segments: Vec<(&str, &str)> = first_path.split('/').zip(second_path.split('/')).collect();
    let same_length = first_path.split('/').count() == second_path.split('/').count();
    let meet = segments.iter().all(|(a, b)| a == b || is_parameter(a) || is_parameter(b));
    if !same_length || !meet {
        return None;
    }
    let same_shape = segments.iter().all(|(a, b)| is_parameter(a) == is_parameter(b));
    if !same_shape {
        let first_wins = segments.iter().any(|(a, b)| !is_parameter(a) && is_parameter(b));
        let second_wins = segments.iter().any(|(a, b)| is_parameter(a) && !is_parameter(b));
        let ambiguous = first_wins && second_wins && first.service != second.service;
        return ambiguous.then_some("neither is more specific, and a path may match both");
    }
    if first.service != second.service {
        return Some("a path belongs to one service");
    }
    if first_path != second_path {
        return Some("they differ in the parameter's name alone");
    }
    let methods = &first.read.route.methods;
    second.read.route.methods.iter().any(|method| methods.contains(method)).then_some("they share a method")
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{')
}

//! `[server]` and `[admin]`.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::backend::existing_file;
use super::reader::{Reading, Table, Text};
use super::{Admin, Proxies, ProxyField, Server, ServerLimits, Tls, route};
use crate::limits;

/// Reads `[server]`.
pub(super) fn read(reading: &Reading<'_>, root: &Table<'_, '_>) -> Server {
    let Some(table) = root.table("server") else { return Server::default() };
    let server = Server {
        bind: bind(reading, &table),
        https_port: table.integer("https_port", limits::PORTS, limits::HTTPS_PORT),
        http_port: if table.switched_off("http_port") {
            None
        } else {
            Some(table.integer("http_port", limits::PORTS, limits::HTTP_PORT))
        },
        tls: tls(reading, &table),
        health_path: own_path(reading, &table, "health_path", limits::HEALTH_PATH),
        docs_path: if table.switched_off("docs_path") {
            None
        } else {
            Some(own_path(reading, &table, "docs_path", limits::DOCS_PATH))
        },
        limits: table.table("limits").map_or_else(ServerLimits::default, |table| read_limits(table)),
        proxies: proxies(reading, &table),
    };
    table.finish();
    server
}

/// Reads `[admin]`.
pub(super) fn read_admin(root: &Table<'_, '_>) -> Admin {
    let Some(table) = root.table("admin") else { return Admin::default() };
    let admin = Admin { port: table.integer("port", limits::PORTS, limits::ADMIN_PORT) };
    table.finish();
    admin
}

fn bind(reading: &Reading<'_>, table: &Table<'_, '_>) -> IpAddr {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let Some(text) = table.text("bind") else { return loopback };
    text.value.parse().unwrap_or_else(|_| {
        let fault = reading
            .fault(&text.span, format!("`server.bind`: {} is no IP address", text.shown()))
            .help("for example: \"127.0.0.1\" for this machine alone, \"0.0.0.0\" or \"::\" for every interface");
        reading.record(fault);
        loopback
    })
}

fn tls(reading: &Reading<'_>, server: &Table<'_, '_>) -> Option<Tls> {
    let table = server.table("tls")?;
    let recorded = reading.faults.borrow().len();
    let (cert, key) = (table.text("cert"), table.text("key"));
    let complete = reading.faults.borrow().len() == recorded;
    let tls = match (cert, key) {
        (Some(cert), Some(key)) => Some(Tls {
            cert: existing_file(reading, &cert, "server.tls.cert"),
            key: existing_file(reading, &key, "server.tls.key"),
        }),
        (None, Some(_)) if complete => {
            table.missing("cert", "\"tls/chain.pem\"");
            None
        }
        (Some(_), None) if complete => {
            table.missing("key", "\"tls/key.pem\"");
            None
        }
        // Both empty, as with two unset variables: the self-signed certificate.
        _ => None,
    };
    table.finish();
    tls
}

/// A path at which the host itself answers.
fn own_path(reading: &Reading<'_>, table: &Table<'_, '_>, key: &'static str, default: &str) -> String {
    let Some(text) = table.text(key) else { return default.to_owned() };
    if let Err(reason) = route::check_path(&text.value, false) {
        let message = format!("`server.{key}`: {} is no path: {reason}", text.shown());
        reading.record(reading.fault(&text.span, message).help(format!("for example: {default:?}")));
    }
    text.value
}

fn proxies(reading: &Reading<'_>, table: &Table<'_, '_>) -> Proxies {
    let written = table.texts("trusted_proxies").unwrap_or_default();
    if written.len() > limits::TRUSTED_PROXIES_MAX {
        let message = format!("`server.trusted_proxies` has more than {}", limits::TRUSTED_PROXIES_MAX);
        reading.record(reading.fault(&table.value_span("trusted_proxies"), message));
    }
    let network = |text: &Text| {
        let address = || text.value.parse().ok().map(|address: IpAddr| IpNet::from(address.to_canonical()));
        let network = text.value.parse().ok().or_else(address);
        if network.is_none() {
            let fault = reading
                .fault(&text.span, format!("`server.trusted_proxies`: {} is no network", text.shown()))
                .help("for example: \"10.0.0.0/8\", \"192.0.2.7\", \"2001:db8::/32\"");
            reading.record(fault);
        }
        network
    };
    let networks = written.iter().filter(|text| !text.value.is_empty()).filter_map(network).collect();
    let field = match table.text("proxy_field") {
        None => ProxyField::default(),
        Some(text) => match text.value.to_ascii_lowercase().as_str() {
            "x-forwarded-for" => ProxyField::XForwardedFor,
            "forwarded" => ProxyField::Forwarded,
            _ => {
                let fault = reading
                    .fault(&text.span, format!("`server.proxy_field`: unknown field {}", text.shown()))
                    .nearest(&text.value, ["x-forwarded-for", "forwarded"])
                    .help("valid: \"x-forwarded-for\", \"forwarded\" (RFC 7239)");
                reading.record(fault);
                ProxyField::default()
            }
        },
    };
    Proxies { networks, field }
}

fn read_limits(table: Table<'_, '_>) -> ServerLimits {
    let read = ServerLimits {
        connections_max: table.integer("connections_max", limits::CONNECTIONS, limits::CONNECTIONS_MAX),
        header_bytes_max: table.integer("header_bytes_max", limits::HEADER_BYTES, limits::HEADER_BYTES_MAX),
        header_fields_max: table.integer(
            "header_fields_max",
            limits::HEADER_FIELDS,
            limits::HEADER_FIELDS_MAX,
        ),
        request_line_bytes_max: table.integer(
            "request_line_bytes_max",
            limits::REQUEST_LINE_BYTES,
            limits::REQUEST_LINE_BYTES_MAX,
        ),
        header_timeout: table.millis("header_timeout_ms", limits::TIMEOUTS_MS, limits::HEADER_TIMEOUT),
        body_timeout: table.millis("body_timeout_ms", limits::TIMEOUTS_MS, limits::BODY_TIMEOUT),
        tls_handshake_timeout: table.millis(
            "tls_handshake_timeout_ms",
            limits::TIMEOUTS_MS,
            limits::TLS_HANDSHAKE_TIMEOUT,
        ),
        keep_alive_timeout: table.millis(
            "keep_alive_timeout_ms",
            limits::TIMEOUTS_MS,
            limits::KEEP_ALIVE_TIMEOUT,
        ),
        write_timeout: table.millis("write_timeout_ms", limits::TIMEOUTS_MS, limits::WRITE_TIMEOUT),
        drain_timeout: table.millis("drain_timeout_ms", limits::TIMEOUTS_MS, limits::DRAIN_TIMEOUT),
    };
    table.finish();
    read
}

impl Default for Server {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            https_port: limits::HTTPS_PORT,
            http_port: Some(limits::HTTP_PORT),
            tls: None,
            health_path: limits::HEALTH_PATH.to_owned(),
            docs_path: Some(limits::DOCS_PATH.to_owned()),
            limits: ServerLimits::default(),
            proxies: Proxies::default(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { port: limits::ADMIN_PORT }
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections_max: limits::CONNECTIONS_MAX,
            header_bytes_max: limits::HEADER_BYTES_MAX,
            header_fields_max: limits::HEADER_FIELDS_MAX,
            request_line_bytes_max: limits::REQUEST_LINE_BYTES_MAX,
            header_timeout: limits::HEADER_TIMEOUT,
            body_timeout: limits::BODY_TIMEOUT,
            tls_handshake_timeout: limits::TLS_HANDSHAKE_TIMEOUT,
            keep_alive_timeout: limits::KEEP_ALIVE_TIMEOUT,
            write_timeout: limits::WRITE_TIMEOUT,
            drain_timeout: limits::DRAIN_TIMEOUT,
        }
    }
}

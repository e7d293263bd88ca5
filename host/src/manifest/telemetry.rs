//! `[telemetry]`.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, Uri};

use super::reader::{Reading, Table, Text};
use super::{OtlpProtocol, Telemetry};
use crate::limits;

/// The protocols by their names, which are OpenTelemetry's.
const PROTOCOLS: [(&str, OtlpProtocol); 2] =
    [("grpc", OtlpProtocol::Grpc), ("http/protobuf", OtlpProtocol::HttpProtobuf)];

/// Reads `[telemetry]`.
pub(super) fn read(reading: &Reading<'_>, root: &Table<'_, '_>) -> Telemetry {
    let Some(table) = root.table("telemetry") else { return Telemetry::default() };
    let telemetry = Telemetry {
        endpoint: table.text("endpoint").and_then(|text| endpoint(reading, text)),
        protocol: table.text("protocol").and_then(|text| protocol(reading, &text)).unwrap_or_default(),
        sample_ratio: table.fraction("sample_ratio", limits::SAMPLE_RATIO),
        trust_clients: table.boolean("trust_clients", true),
        headers: headers(reading, &table),
        metrics_port: table.number("metrics_port", &limits::PORTS).and_then(|port| u16::try_from(port).ok()),
    };
    table.finish();
    telemetry
}

fn endpoint(reading: &Reading<'_>, text: Text) -> Option<String> {
    let uri = text.value.parse::<Uri>().ok();
    let is_endpoint = |uri: &Uri| {
        let (scheme, authority) = (uri.scheme_str(), uri.authority());
        // A password in it would end up in errors of whoever connects.
        matches!(scheme, Some("http" | "https"))
            && authority.is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.query().is_none()
    };
    if uri.as_ref().is_some_and(is_endpoint) {
        return Some(text.value);
    }
    // It may hold a password, so it is not repeated.
    let message = "`telemetry.endpoint` is no collector's address";
    let help = "for example: \"http://127.0.0.1:4317\"; a password belongs into `telemetry.headers`";
    reading.record(reading.fault(&text.span, message).help(help));
    None
}

fn protocol(reading: &Reading<'_>, text: &Text) -> Option<OtlpProtocol> {
    let known = PROTOCOLS.into_iter().find(|(name, _)| *name == text.value);
    if known.is_none() {
        let fault = reading
            .fault(&text.span, format!("unknown `telemetry.protocol` {}", text.shown()))
            .nearest(&text.value, PROTOCOLS.map(|(name, _)| name))
            .help("valid: \"grpc\" (port 4317 by custom), \"http/protobuf\" (port 4318)");
        reading.record(fault);
    }
    known.map(|(_, protocol)| protocol)
}

fn headers(reading: &Reading<'_>, table: &Table<'_, '_>) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for (name, value) in table.named_texts("headers") {
        let legal = HeaderName::try_from(&name.value).is_ok_and(|field| field.as_str() == name.value);
        if !legal {
            let message = format!("`telemetry.headers`: {} is no header field in lower case", name.shown());
            reading.record(reading.fault(&name.span, message).help("for example: x-api-key"));
        } else if HeaderValue::try_from(&value.value).is_err() {
            let message = format!("`telemetry.headers`: the value of {} is not legal", name.shown());
            reading.record(reading.fault(&value.span, message));
        } else {
            headers.insert(name.value, value.value);
        }
    }
    headers
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: OtlpProtocol::default(),
            sample_ratio: limits::SAMPLE_RATIO,
            trust_clients: true,
            headers: BTreeMap::new(),
            metrics_port: None,
        }
    }
}

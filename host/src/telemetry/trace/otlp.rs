//! Exporters over OTLP: one for each service, because a service is a resource of its own,
//! over one connection.

use std::collections::HashMap;

use anyhow::{Context as _, anyhow};
use opentelemetry::KeyValue;
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::{
    Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use uuid::Uuid;

use super::tracer::HOST;
use crate::limits::{SPANS_CONNECT_TIMEOUT, SPANS_EXPORT_TIMEOUT};
use crate::manifest::{OtlpProtocol, Telemetry};

/// The path of OTLP over HTTP, under the endpoint's own.
const HTTP_PATH: &str = "v1/traces";

/// How to reach the collector.
pub(super) struct Otlp {
    transport: Transport,
    /// Tells this process from others of the same services.
    instance: String,
}

enum Transport {
    Grpc { channel: Channel, metadata: MetadataMap },
    Http { client: reqwest::Client, endpoint: String, headers: HashMap<String, String> },
}

impl Otlp {
    /// `None` without an endpoint. Nothing is connected yet.
    ///
    /// # Errors
    /// The endpoint, or a header, is none.
    pub(super) fn new(settings: &Telemetry) -> anyhow::Result<Option<Self>> {
        let Some(endpoint) = &settings.endpoint else { return Ok(None) };
        // Whoever comes first decides, and it is always this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let headers = settings.headers.clone().into_iter().collect();
        let transport = match settings.protocol {
            OtlpProtocol::Grpc => grpc(endpoint, &headers)?,
            OtlpProtocol::HttpProtobuf => http(endpoint, headers)?,
        };
        Ok(Some(Self { transport, instance: Uuid::new_v4().to_string() }))
    }

    /// An exporter for one service's spans.
    pub(super) fn exporter(&self, service: &str) -> anyhow::Result<SpanExporter> {
        let builder = SpanExporter::builder();
        let mut exporter = match &self.transport {
            Transport::Grpc { channel, metadata } => builder
                .with_tonic()
                .with_channel(channel.clone())
                .with_metadata(metadata.clone())
                .with_timeout(SPANS_EXPORT_TIMEOUT)
                .build()?,
            Transport::Http { client, endpoint, headers } => builder
                .with_http()
                .with_http_client(client.clone())
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(endpoint)
                .with_headers(headers.clone())
                .with_timeout(SPANS_EXPORT_TIMEOUT)
                .build()?,
        };
        // What OTEL_RESOURCE_ATTRIBUTES says is there too, but for these. A service has no
        // version of its own here: several may serve at once, so each span of a component's
        // work names its own, as `wasmyard.version`.
        let version = (service == HOST).then(|| KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let resource = Resource::builder()
            .with_service_name(service.to_owned())
            .with_attribute(KeyValue::new("service.namespace", HOST))
            .with_attribute(KeyValue::new("service.instance.id", self.instance.clone()))
            .with_attributes(version)
            .build();
        exporter.set_resource(&resource);
        Ok(exporter)
    }
}

fn grpc(endpoint: &str, headers: &HashMap<String, String>) -> anyhow::Result<Transport> {
    let mut channel = Endpoint::from_shared(endpoint.to_owned())
        .context("telemetry.endpoint cannot be used")?
        .connect_timeout(SPANS_CONNECT_TIMEOUT)
        .timeout(SPANS_EXPORT_TIMEOUT);
    if endpoint.starts_with("https:") {
        channel = channel
            .tls_config(ClientTlsConfig::new().with_native_roots())
            .context("telemetry.endpoint: TLS cannot be set up")?;
    }
    let headers: http::HeaderMap = headers.try_into().map_err(|_| anyhow!("telemetry.headers: not legal"))?;
    Ok(Transport::Grpc { channel: channel.connect_lazy(), metadata: MetadataMap::from_headers(headers) })
}

fn http(endpoint: &str, headers: HashMap<String, String>) -> anyhow::Result<Transport> {
    let client = reqwest::Client::builder()
        .connect_timeout(SPANS_CONNECT_TIMEOUT)
        .timeout(SPANS_EXPORT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .context("telemetry: no HTTP client can be made")?;
    let endpoint = format!("{}/{HTTP_PATH}", endpoint.trim_end_matches('/'));
    Ok(Transport::Http { client, endpoint, headers })
}

//! A collector of traces, which keeps what it is sent over OTLP.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::eventually;

/// What a message over gRPC begins with: a flag and its length.
const FRAME_BYTES: usize = 5;

/// A span as it was sent.
#[derive(Debug, Clone)]
pub struct Received {
    /// The resource's attributes, as text.
    pub resource: BTreeMap<String, String>,
    /// The span.
    pub span: Span,
}

/// Takes OTLP over gRPC or over HTTP, for as long as it is here.
pub struct Collector {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Kept {
    spans: Vec<Received>,
    headers: Vec<HeaderMap>,
}

impl Collector {
    /// One that is spoken to over gRPC.
    pub async fn grpc() -> Self {
        Self::start(true).await
    }

    /// One that is spoken to over HTTP/1.1.
    pub async fn http() -> Self {
        Self::start(false).await
    }

    async fn start(grpc: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let kept = Arc::<Mutex<Kept>>::default();
        let of_task = kept.clone();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (kept, io) = (of_task.clone(), TokioIo::new(socket));
                tokio::spawn(async move {
                    let service = service_fn(move |request| take(kept.clone(), request));
                    // A host that goes away in the middle is not the collector's affair.
                    let _ = match grpc {
                        true => {
                            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                                .serve_connection(io, service)
                                .await
                        }
                        false => {
                            hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
                        }
                    };
                });
            }
        });
        Self { address, kept, task }
    }

    /// What `telemetry.endpoint` should be.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that it was sent so far.
    pub fn spans(&self) -> Vec<Received> {
        self.lock().spans.clone()
    }

    /// The header fields of each export.
    pub fn headers(&self) -> Vec<HeaderMap> {
        self.lock().headers.clone()
    }

    /// Waits for a span that `wanted` likes.
    pub async fn span(&self, what: &str, wanted: impl Fn(&Received) -> bool) -> Received {
        eventually(what, async || self.spans().into_iter().find(|received| wanted(received))).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Received {
    /// The `service.name`.
    pub fn service(&self) -> &str {
        self.resource.get("service.name").map_or("", String::as_str)
    }

    /// An attribute of the span, as text.
    pub fn attribute(&self, name: &str) -> Option<String> {
        self.span.attributes.iter().find(|attribute| attribute.key == name).map(text)
    }
}

async fn take(
    kept: Arc<Mutex<Kept>>,
    request: Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let (head, body) = request.into_parts();
    let is_grpc = match head.uri.path() {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => true,
        "/v1/traces" => false,
        other => panic!("{other} is no path of a collector"),
    };
    let mut body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    if is_grpc && body.len() >= FRAME_BYTES {
        body.advance(FRAME_BYTES);
    }
    let sent = ExportTraceServiceRequest::decode(body).expect("an export");
    let spans = sent.resource_spans.into_iter().flat_map(|of_resource| {
        let attributes = of_resource.resource.map(|resource| resource.attributes).unwrap_or_default();
        let resource: BTreeMap<_, _> =
            attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect();
        let spans = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
        spans.map(move |span| Received { resource: resource.clone(), span }).collect::<Vec<_>>()
    });
    let spans: Vec<_> = spans.collect();
    {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.spans.extend(spans);
        kept.headers.push(head.headers);
    }
    let (kind, answer) = match is_grpc {
        true => ("application/grpc", Bytes::from_static(&[0; FRAME_BYTES])),
        false => ("application/x-protobuf", Bytes::new()),
    };
    let trailers = is_grpc.then(|| {
        let status = (http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static("0"));
        Ok([status].into_iter().collect())
    });
    let body = Full::new(answer).with_trailers(std::future::ready(trailers));
    Ok(Response::builder().header("content-type", kind).body(body).expect("an answer"))
}

fn text(attribute: &KeyValue) -> String {
    match attribute.value.as_ref().and_then(|value| value.value.clone()) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

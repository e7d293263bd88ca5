//! Who listens to events: a WebSocket, or server-sent events.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderName, HeaderValue, Request};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::{Session, Shop, Wire, within};

/// The subprotocol of events.
pub const SUBPROTOCOL: &str = "wasmyard.events.v1";

/// Opens WebSockets to one address over TLS.
#[derive(Clone)]
pub struct Dialer {
    connector: TlsConnector,
    port: u16,
    /// What the kernel takes in for a client that does not read, if it is to be little.
    receive_buffer: Option<u32>,
}

/// An open WebSocket.
pub struct Listener {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    /// The answer to its opening.
    pub opened: http::Response<()>,
}

/// What a listener hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A message, which must be JSON.
    Message(Value),
    /// The end, as the host says it: the code, and the reason, which is JSON too.
    Closed(u16, Value),
    /// The end without a word.
    Lost,
}

impl Dialer {
    /// A dialer that trusts a certificate, given as PEM, and no other.
    ///
    /// # Panics
    /// When it is no certificate.
    pub fn new(port: u16, pem: &[u8]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.expect("a certificate")).expect("a usable certificate");
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Self { connector: TlsConnector::from(Arc::new(config)), port, receive_buffer: None }
    }

    /// The same with little room for what is not read, in bytes.
    #[must_use]
    pub fn with_receive_buffer(self, bytes: u32) -> Self {
        Self { receive_buffer: Some(bytes), ..self }
    }

    /// Opens a WebSocket without a token.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn open(&self, path: &str) -> Listener {
        let opened = self.try_open(path, &[]).await;
        opened.unwrap_or_else(|refused| panic!("{path} is refused: {refused:?}"))
    }

    /// Opens one with a token, as a page does.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn open_as(&self, session: &Session, path: &str) -> Listener {
        let offered = format!("{SUBPROTOCOL}, bearer.{}", session.access);
        let opened = self.try_open(path, &[("sec-websocket-protocol", &offered)]).await;
        opened.unwrap_or_else(|refused| panic!("{path} is refused: {refused:?}"))
    }

    /// Opens one with these fields.
    ///
    /// # Errors
    /// The answer with which it was refused.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn try_open(
        &self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<Listener, http::Response<Option<Vec<u8>>>> {
        let mut request: Request<()> =
            format!("wss://localhost:{}{path}", self.port).into_client_request().expect("an address");
        for (name, value) in fields {
            let name: HeaderName = name.parse().expect("a name");
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a value"));
        }
        match within("a WebSocket opens", client_async(request, self.tls().await)).await {
            Ok((socket, opened)) => Ok(Listener { socket, opened: opened.map(|_| ()) }),
            Err(Error::Http(refused)) => Err(*refused),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// A connection for HTTP/1.1 byte by byte.
    pub async fn wire(&self) -> Wire {
        Wire::over(self.tls().await)
    }

    async fn tls(&self) -> TlsStream<TcpStream> {
        let socket = TcpSocket::new_v4().expect("a socket");
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes).expect("a small buffer");
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let tcp = within("the host accepts", socket.connect(address)).await.expect("the host accepts");
        let name = ServerName::try_from("localhost").expect("a name");
        within("TLS", self.connector.connect(name, tcp)).await.expect("TLS")
    }
}

impl Listener {
    /// Waits for what comes next, pings aside.
    pub async fn hear(&mut self) -> Heard {
        loop {
            match within("something is heard", self.socket.next()).await {
                Some(Ok(Message::Text(text))) => {
                    return Heard::Message(serde_json::from_str(&text).expect("JSON"));
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    let reason = serde_json::from_str(&frame.reason).unwrap_or(Value::Null);
                    // The answer that is the host's due goes out with the next look.
                    let _ = self.socket.flush().await;
                    return Heard::Closed(frame.code.into(), reason);
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(None)) | Err(_)) | None => return Heard::Lost,
                Some(Ok(other)) => panic!("{other:?} is nothing that the host says"),
            }
        }
    }

    /// Waits for a message.
    ///
    /// # Panics
    /// When the end comes.
    pub async fn message(&mut self) -> Value {
        match self.hear().await {
            Heard::Message(message) => message,
            end => panic!("a message was expected: {end:?}"),
        }
    }

    /// Waits for the next message, which says that everything before it has been told; gives
    /// the place.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn ready(&mut self) -> String {
        let ready = self.message().await;
        assert_eq!(ready["type"], "ready", "{ready}");
        ready["id"].as_str().expect("a place").to_owned()
    }

    /// Sends a message.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn say(&mut self, message: Message) {
        self.socket.send(message).await.expect("the connection is open");
    }
}

/// Server-sent events, read one by one.
pub struct EventSource {
    response: reqwest::Response,
    read: Vec<u8>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSent {
    /// Its `id`, if it has one.
    pub id: Option<String>,
    /// Its `event`.
    pub kind: String,
    /// Its `data`, which must be JSON.
    pub data: Value,
}

impl EventSource {
    /// Reads the answer to a request.
    ///
    /// # Panics
    /// When there is none, or it is something else.
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = within("an answer", request.send()).await.expect("an answer");
        assert_eq!(response.status(), 200, "{response:?}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, read: Vec::new() }
    }

    /// Waits for the next event; `None` at the end.
    pub async fn next(&mut self) -> Option<ServerSent> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| {
                let mut lines = block.lines();
                lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
            };
            // What has no data is a comment, or the time to wait.
            if let Some(data) = field("data") {
                let data = serde_json::from_str(&data).expect("JSON");
                return Some(ServerSent { id: field("id"), kind: field("event").expect("a type"), data });
            }
        }
    }

    /// The next lines up to an empty one.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.read.drain(..end + 2).collect();
                return Some(String::from_utf8(block).expect("UTF-8"));
            }
            let more = within("more of the answer", self.response.chunk()).await.ok().flatten()?;
            self.read.extend_from_slice(&more);
        }
    }
}

impl Shop {
    /// Opens WebSockets to this shop.
    ///
    /// # Panics
    /// When the shop has no certificate.
    pub fn dialer(&self) -> Dialer {
        let pem = std::fs::read(self.state_dir().join("tls/self-signed.pem")).expect("the certificate");
        Dialer::new(self.https().port(), &pem)
    }

    /// Reads server-sent events of this shop, with these fields.
    pub async fn event_source(&self, path: &str, fields: &[(&str, &str)]) -> EventSource {
        let mut request = self.new_client().get(self.url(path));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        EventSource::of(request).await
    }
}

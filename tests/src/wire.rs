//! HTTP/1.1 byte by byte, for what no client would send.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::{Answer, Shop};

/// One connection over TLS to a shop's public address.
pub struct Wire {
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

impl Wire {
    /// Connects.
    pub async fn open(shop: &Shop) -> Self {
        let pem = shop.state_dir().join("tls/self-signed.pem");
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(pem).expect("the certificate's file") {
            roots.add(certificate.expect("a certificate")).expect("a usable certificate");
        }
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tcp = TcpStream::connect(shop.https()).await.expect("the host accepts");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("TLS");
        Self::over(stream)
    }

    pub(crate) fn over(stream: TlsStream<TcpStream>) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// Sends bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the host takes the bytes");
        self.stream.flush().await.expect("the host takes the bytes");
    }

    /// Reads one answer to a request other than HEAD. Its length must be declared, as the
    /// host always does.
    ///
    /// # Panics
    /// When the connection ends before that.
    pub async fn answer(&mut self) -> Answer {
        let end = loop {
            match self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break end,
                None => self.more().await,
            }
        };
        let head: Vec<u8> = self.read.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("a head is text");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {head:?}"));
        let headers: HeaderMap = lines
            .filter_map(|line| {
                let (name, value) = line.split_once(':')?;
                Some((name.parse::<HeaderName>().ok()?, value.trim().parse::<HeaderValue>().ok()?))
            })
            .collect();
        let length = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
        let length: usize = length.unwrap_or(0);
        while self.read.len() < length {
            self.more().await;
        }
        let body: Vec<u8> = self.read.drain(..length).collect();
        let status = StatusCode::from_u16(status).expect("a status");
        Answer { http: Version::HTTP_11, status, headers, body: Bytes::from(body) }
    }

    /// Reads up to these bytes, and with them.
    ///
    /// # Panics
    /// When the connection ends before that.
    pub async fn until(&mut self, bytes: &[u8]) -> Vec<u8> {
        loop {
            match self.read.windows(bytes.len()).position(|window| window == bytes) {
                Some(at) => return self.read.drain(..at + bytes.len()).collect(),
                None => self.more().await,
            }
        }
    }

    async fn more(&mut self) {
        let count = self.stream.read_buf(&mut self.read).await.expect("the host answers");
        assert_ne!(count, 0, "the connection ended after {:?}", String::from_utf8_lossy(&self.read));
    }
}

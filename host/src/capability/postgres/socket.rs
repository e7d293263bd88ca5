//! The socket of a connection, which lets no message through that is larger than an
//! answer may be.
//!
//! The driver reads a message whole before anyone sees its length, so one row of
//! `repeat('x', 1000000000)` would take a gigabyte of the host's memory. Every
//! message of the server begins with a byte for its type and four for its length
//! (PostgreSQL's protocol, "Message Formats"); counting along is all it takes.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::limits::{POSTGRES_KEEPALIVE_IDLE, POSTGRES_MESSAGE_BYTES_MAX};

/// Where a database listens: a host may be given by name, address or folder.
#[derive(Debug, Clone)]
pub(super) enum Address {
    Name(String, u16),
    Socket(SocketAddr),
    Folder(std::path::PathBuf, u16),
}

/// A TCP or Unix socket with its messages counted.
pub(super) struct Socket {
    stream: Stream,
    frame: Frame,
    overflow: Arc<AtomicBool>,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Where in the stream of messages the next byte belongs.
#[derive(Default)]
struct Frame {
    header: [u8; 5],
    header_len: usize,
    body_left: usize,
}

impl Address {
    /// The addresses of a connection string, in the order in which they are tried.
    pub(super) fn all(config: &Config) -> Vec<Self> {
        let ports = config.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let (hosts, literal) = (config.get_hosts(), config.get_hostaddrs());
        let count = hosts.len().max(literal.len());
        let address = |index: usize| match (literal.get(index), hosts.get(index)) {
            (Some(ip), _) => Some(Self::Socket(SocketAddr::new(*ip, port(index)))),
            (None, Some(Host::Tcp(name))) => Some(Self::Name(name.clone(), port(index))),
            (None, Some(Host::Unix(folder))) => Some(Self::Folder(folder.clone(), port(index))),
            (None, None) => None,
        };
        (0..count).filter_map(address).collect()
    }

    /// Connects. The caller keeps the time.
    pub(super) async fn dial(&self) -> io::Result<Socket> {
        let stream = match self {
            Self::Name(name, port) => Stream::Tcp(TcpStream::connect((name.as_str(), *port)).await?),
            Self::Socket(address) => Stream::Tcp(TcpStream::connect(address).await?),
            Self::Folder(folder, port) => Stream::Unix(UnixStream::connect(file(folder, *port)).await?),
        };
        if let Stream::Tcp(tcp) = &stream {
            tcp.set_nodelay(true)?;
            let keepalive = socket2::TcpKeepalive::new().with_time(POSTGRES_KEEPALIVE_IDLE);
            socket2::SockRef::from(tcp).set_tcp_keepalive(&keepalive)?;
        }
        Ok(Socket { stream, frame: Frame::default(), overflow: Arc::default() })
    }
}

fn file(folder: &Path, port: u16) -> std::path::PathBuf {
    folder.join(format!(".s.PGSQL.{port}"))
}

impl Socket {
    /// Becomes true when the server sends a message that is too large; the connection
    /// is broken then.
    pub(super) fn overflow(&self) -> Arc<AtomicBool> {
        self.overflow.clone()
    }
}

impl Frame {
    /// Follows the stream over these bytes; false when a message is too large.
    fn follow(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.body_left > 0 {
                let passed = self.body_left.min(bytes.len());
                self.body_left -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            self.header[self.header_len] = bytes[0];
            self.header_len += 1;
            bytes = &bytes[1..];
            if self.header_len == self.header.len() {
                let [_, length @ ..] = self.header;
                // The length counts its own four bytes.
                self.body_left = (u32::from_be_bytes(length) as usize).saturating_sub(length.len());
                self.header_len = 0;
                if self.body_left > POSTGRES_MESSAGE_BYTES_MAX {
                    return false;
                }
            }
        }
        true
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        if let Poll::Ready(Ok(())) = read
            && !self.frame.follow(&buffer.filled()[before..])
        {
            self.overflow.store(true, Ordering::Release);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too large")));
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![b'D'];
        bytes.extend(u32::try_from(length + 4).expect("small").to_be_bytes());
        bytes.resize(5 + length, 0);
        bytes
    }

    #[test]
    fn messages_are_followed_however_they_are_cut() {
        let stream = [message(0), message(7), message(300), message(1)].concat();
        for cut in 1..20 {
            let mut frame = Frame::default();
            assert!(stream.chunks(cut).all(|bytes| frame.follow(bytes)), "in pieces of {cut}");
            assert_eq!((frame.header_len, frame.body_left), (0, 0));
        }
        let mut large = vec![b'D'];
        large.extend(u32::try_from(POSTGRES_MESSAGE_BYTES_MAX + 5).expect("small").to_be_bytes());
        assert!(!Frame::default().follow(&large));
    }

    #[test]
    fn addresses_are_read_from_the_connection_string() {
        let all = |url: &str| format!("{:?}", Address::all(&url.parse().expect("a connection string")));
        assert_eq!(all("postgres://u@db/x"), r#"[Name("db", 5432)]"#);
        assert_eq!(all("host=a,b port=1,2 user=u"), r#"[Name("a", 1), Name("b", 2)]"#);
        assert_eq!(all("host=/run/pg port=7 user=u"), r#"[Folder("/run/pg", 7)]"#);
        assert_eq!(all("host=a hostaddr=127.0.0.1 port=7 user=u"), "[Socket(127.0.0.1:7)]");
    }
}

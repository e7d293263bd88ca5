//! A client that sends the same bytes each time, one request after another over one
//! connection: what it makes the host do is the same in each run.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// For one answer, which takes a thousand times longer under an emulator.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection of HTTP/1.1 without TLS, kept alive.
pub struct Client {
    connection: BufReader<TcpStream>,
}

impl Client {
    /// Connects to a port of this machine.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { connection: BufReader::new(stream) })
    }

    /// Asks for a path; gives the head, in lower case, and the body.
    ///
    /// # Errors
    /// No answer, or one that is not 2xx.
    pub fn get(&mut self, path: &str) -> anyhow::Result<(String, Vec<u8>)> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n\r\n");
        self.connection.get_mut().write_all(request.as_bytes())?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.connection.read_line(&mut head)? == 0 {
                bail!("the connection was closed during the answer to {path}");
            }
        }
        head.make_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.unwrap_or("0").parse().context("content-length")?;
        let mut body = vec![0; length];
        self.connection.read_exact(&mut body)?;
        if !head.starts_with("http/1.1 2") {
            bail!("{path}: {head}{}", String::from_utf8_lossy(&body));
        }
        Ok((head, body))
    }
}

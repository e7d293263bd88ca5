//! What the host says of itself at `GET /metrics`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Time for the host to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Instances of all services, warm or busy.
///
/// # Errors
///
/// The operator's API does not answer.
pub(crate) fn instances(admin: SocketAddr) -> Result<u64> {
    let mut stream = TcpStream::connect_timeout(&admin, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("GET /metrics")?;
    sum(&answer).context("GET /metrics has no instances")
}

fn sum(answer: &str) -> Option<u64> {
    let lines = answer.lines().filter_map(|line| line.strip_prefix("wasmyard_instances{"));
    let counts: Vec<u64> = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect();
    (!counts.is_empty()).then(|| counts.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_of_all_services_and_states_are_added() {
        let answer = "wasmyard_instances{service=\"users\",state=\"warm\"} 3\n\
                      wasmyard_instances{service=\"users\",state=\"busy\"} 1\n\
                      wasmyard_instances_retired_total{service=\"users\"} 7\n";
        assert_eq!(sum(answer), Some(4));
        assert_eq!(sum(""), None);
    }
}

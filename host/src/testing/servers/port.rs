//! Ports that tests may rely on.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, PoisonError};

/// Below those that Linux gives to whoever asks for any port, and to each outgoing connection
/// (`ip_local_port_range`, from 32768 on unless somebody has changed it): so nobody is given
/// one of these by chance, not even while a test has stopped the server that had it.
const RANGE: Range<u16> = 20_000..32_000;

/// A free port of the loopback interface, which no other test is given while this process
/// lives, in this process or in another.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    static RESERVED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let mut reserved = RESERVED.lock().unwrap_or_else(PoisonError::into_inner);
    let (port, reservation) = RANGE
        .filter_map(|port| Some((port, reserve(port)?)))
        .find(|(port, _)| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port");
    reserved.push(reservation);
    port
}

/// A name in the abstract namespace of sockets (unix(7)) has one owner, and is free again when
/// that has ended, in whatever way. The namespace belongs to the network, as ports do.
fn reserve(port: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("wasmyard-test-port-{port}")).ok()?;
    UnixListener::bind_addr(&name).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_port_is_given_twice_and_each_can_be_bound() {
        let ports: Vec<u16> = (0..50).map(|_| free_port()).collect();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len(), "{ports:?}");
        for port in ports {
            assert!(RANGE.contains(&port));
            assert!(reserve(port).is_none(), "{port} could be had by another process");
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("it is free");
        }
    }
}

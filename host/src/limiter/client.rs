//! Who a bucket belongs to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::runtime::Identity;

/// A client, as limits tell them apart. `Display` is its part of the key in Redis.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Client {
    /// A verified caller, wherever the request comes from.
    User(Box<str>),
    /// An address of IPv4, also where it came as an IPv6 one.
    V4(Ipv4Addr),
    /// The first 64 bits of an address of IPv6: the smallest network that a subscriber is
    /// given (RFC 6177), whose addresses are all one client's to choose from.
    V6(u64),
}

impl Client {
    /// The caller when it is known, else the address.
    pub fn of(identity: Option<&Identity>, address: IpAddr) -> Self {
        match (identity, address.to_canonical()) {
            (Some(identity), _) => Self::User(identity.subject.as_str().into()),
            (None, IpAddr::V4(address)) => Self::V4(address),
            (None, IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d].into_iter().fold(0, |bits, part| bits << 16 | u64::from(part)))
            }
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(subject) => write!(f, "user:{subject}"),
            Self::V4(address) => write!(f, "address:{address}"),
            Self::V6(network) => {
                write!(f, "address:{}/64", Ipv6Addr::from_bits(u128::from(*network) << 64))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_apart_by_user_by_address_and_by_network() {
        let alice = Identity { subject: "1".to_owned(), roles: Vec::new(), expires_at: None };
        let cases = [
            (Some(&alice), "192.0.2.1", "user:1"),
            (None, "192.0.2.1", "address:192.0.2.1"),
            (None, "::ffff:192.0.2.1", "address:192.0.2.1"),
            (None, "2001:db8:1:2:3:4:5:6", "address:2001:db8:1:2::/64"),
            (None, "2001:db8:1:2::", "address:2001:db8:1:2::/64"),
            (None, "2001:db8:1:3::1", "address:2001:db8:1:3::/64"),
            (None, "::1", "address:::/64"),
        ];
        for (identity, address, expected) in cases {
            let client = Client::of(identity, address.parse().unwrap());
            assert_eq!(client.to_string(), expected);
        }
        let of = |address: &str| Client::of(None, address.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }
}

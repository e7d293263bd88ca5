//! The address that a request comes from, when proxies stand in between.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::manifest::{Proxies, ProxyField};

/// RFC 7239.
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client: the peer's, unless the peer is a trusted proxy. A proxy adds
/// whom it was asked by at the right end of its field, so the field is read from there: past
/// each trusted proxy, to the first address that is none. What stands left of it is the
/// client's own claim and is never read.
///
/// An entry that is no address ends the way: then the proxy that wrote it is the client. So
/// it is where the field is missing.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, proxies: &Proxies) -> IpAddr {
    let trusted = |address: IpAddr| proxies.networks.iter().any(|network| network.contains(&address));
    let mut nearest = peer.to_canonical();
    if proxies.networks.is_empty() || !trusted(nearest) {
        return nearest;
    }
    let (name, read): (_, fn(&str) -> Option<IpAddr>) = match proxies.field {
        ProxyField::XForwardedFor => (X_FORWARDED_FOR, address),
        ProxyField::Forwarded => (FORWARDED, forwarded_for),
    };
    let fields: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
    for field in fields.into_iter().rev() {
        let Ok(field) = field.to_str() else { return nearest };
        for entry in field.rsplit(',') {
            let Some(hop) = read(entry.trim()) else { return nearest };
            nearest = hop;
            if !trusted(hop) {
                return hop;
            }
        }
    }
    nearest
}

/// The `for` of one element of `Forwarded` (RFC 7239, section 4). A quoted string with a
/// comma in it is cut in two by the caller, and neither part is an address.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut named = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    let (_, value) = named.next()?;
    let value = value.trim();
    address(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// An address, with or without a port; one of IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.parse::<IpAddr>().ok();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare().or_else(bracketed).or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, field: ProxyField, lines: &[&'static str]) -> String {
        let networks = ["10.0.0.0/8", "2001:db8:ffff::/48"].map(|network| network.parse().unwrap());
        let proxies = Proxies { networks: networks.into(), field };
        let name = match field {
            ProxyField::XForwardedFor => X_FORWARDED_FOR,
            ProxyField::Forwarded => FORWARDED,
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name.clone(), HeaderValue::from_static(line));
        }
        client_address(peer.parse().unwrap(), &headers, &proxies).to_string()
    }

    #[test]
    fn the_client_is_the_right_most_address_that_no_trusted_proxy_has() {
        let cases: [(&str, &[&'static str], &str); 17] = [
            // Whoever is no proxy may say what it likes.
            ("192.0.2.9", &["198.51.100.1"], "192.0.2.9"),
            ("192.0.2.9", &[], "192.0.2.9"),
            ("::ffff:192.0.2.9", &["198.51.100.1"], "192.0.2.9"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            // What stands left of it was there when the request came to the proxy.
            ("10.0.0.1", &["203.0.113.7, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["10.9.9.9, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["203.0.113.7,198.51.100.1 ,10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["203.0.113.7", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["203.0.113.7, 198.51.100.1", "10.0.0.2"], "198.51.100.1"),
            // Only proxies: the first of them.
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &[], "10.0.0.1"),
            // What cannot be read is as far as the way can be trusted.
            ("10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, , 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("2001:db8:ffff::1", &["2001:db8::7"], "2001:db8::7"),
            ("2001:db8:ffff::1", &["[2001:db8::7]:4711, [2001:db8:ffff::2]"], "2001:db8::7"),
        ];
        for (peer, lines, expected) in cases {
            assert_eq!(from(peer, ProxyField::XForwardedFor, lines), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_writes_it() {
        let cases: [(&[&'static str], &str); 8] = [
            (&["for=198.51.100.1"], "198.51.100.1"),
            (&["For=\"198.51.100.1:80\";proto=https;by=10.0.0.1"], "198.51.100.1"),
            (&["for=203.0.113.7, for=198.51.100.1;proto=http"], "198.51.100.1"),
            (&["for=\"[2001:db8::7]:4711\""], "2001:db8::7"),
            (&["for=198.51.100.1", "for=10.0.0.2"], "198.51.100.1"),
            (&["for=_hidden"], "10.0.0.1"),
            (&["proto=https"], "10.0.0.1"),
            (&["for=\"198.51.100.1, 198.51.100.2\""], "10.0.0.1"),
        ];
        for (lines, expected) in cases {
            assert_eq!(from("10.0.0.1", ProxyField::Forwarded, lines), expected, "{lines:?}");
        }
        // The other field is nobody's word.
        let headers = [(X_FORWARDED_FOR, HeaderValue::from_static("203.0.113.7"))].into_iter().collect();
        let networks = vec!["10.0.0.0/8".parse().unwrap()];
        let proxies = Proxies { networks, field: ProxyField::Forwarded };
        assert_eq!(client_address([10, 0, 0, 1].into(), &headers, &proxies), IpAddr::from([10, 0, 0, 1]));
    }
}

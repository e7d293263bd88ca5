//! Routes whose answers stand in the cache: which key, and for which requests.

use std::fmt::Write as _;
use std::sync::Arc;

use http::header::{AUTHORIZATION, CACHE_CONTROL, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use quick_cache::sync::Cache;

use crate::limits;
use crate::manifest;
use crate::runtime::Response;

/// The key of a route's answer, with the path's parameters in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTemplate {
    pieces: Vec<Piece>,
    fixed_len: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Fixed(String),
    /// The path's parameter at this place.
    Param(usize),
}

impl KeyTemplate {
    /// The template of the route `path`. Its braces have been checked by the manifest; one
    /// that names nothing stands for itself.
    pub fn new(template: &str, path: &str) -> Self {
        let names: Vec<&str> = manifest::parameters(path).collect();
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let param = after.split_once('}').and_then(|(name, after)| {
                let place = names.iter().position(|named| *named == name)?;
                Some((place, after))
            });
            let Some((place, after)) = param else { break };
            pieces.push(Piece::Fixed(before.to_owned()));
            pieces.push(Piece::Param(place));
            rest = after;
        }
        pieces.push(Piece::Fixed(rest.to_owned()));
        let fixed = pieces.iter().map(|piece| if let Piece::Fixed(text) = piece { text.len() } else { 0 });
        Self { fixed_len: fixed.sum(), pieces }
    }

    /// The key for these parameters, in the order of the path.
    pub fn key(&self, params: &[(Arc<str>, String)]) -> String {
        let params_len: usize = params.iter().map(|(_, value)| value.len()).sum();
        let mut key = String::with_capacity(self.fixed_len + params_len);
        for piece in &self.pieces {
            match piece {
                Piece::Fixed(text) => key.push_str(text),
                Piece::Param(place) => key.push_str(params.get(*place).map_or("", |(_, value)| value)),
            }
        }
        key
    }
}

/// A route that is declared as cached.
pub struct RouteCache {
    /// The key of an answer.
    pub key: KeyTemplate,
    /// What was given for a key last, where the value itself is not in this host's memory.
    given: Cache<String, Arc<Given>>,
}

/// What an answer had beside the value that is its body.
#[derive(Debug)]
pub struct Given {
    /// The body's tag: another value has another one.
    pub tag: HeaderValue,
    /// The version that gave it, by the identity of its label.
    pub version: Arc<str>,
    /// The header, with all that every answer carries.
    pub headers: HeaderMap,
}

impl RouteCache {
    /// The cache of the route `path` under keys of this form.
    pub fn new(key: &str, path: &str) -> Self {
        Self { key: KeyTemplate::new(key, path), given: Cache::new(limits::STORED_HEADERS_MAX) }
    }

    /// What was given for the key last.
    pub fn given(&self, key: &str) -> Option<Arc<Given>> {
        self.given.get(key)
    }

    /// Remembers what was given, in the place of what was given longest ago or asked for
    /// least.
    pub fn give(&self, key: String, given: Given) {
        self.given.insert(key, Arc::new(given));
    }
}

/// Whether a request asks for just what is stored: a GET of the plain address, without a
/// word on caches (which the service reads) and without credentials (RFC 9111, section
/// 3.5).
pub fn asks_for_stored(method: &Method, query: Option<&str>, headers: &HeaderMap) -> bool {
    method == Method::GET
        && query.is_none_or(str::is_empty)
        && !headers.contains_key(CACHE_CONTROL)
        && !headers.contains_key(AUTHORIZATION)
}

/// Whether an answer may be given to the next one who asks, whoever that is.
pub fn is_for_everybody(response: &Response) -> bool {
    response.status == StatusCode::OK
        && !response.headers.contains_key(VARY)
        && !response.headers.contains_key(SET_COOKIE)
}

/// The field of a hit (RFC 9211), with the time that the value has left, in whole
/// seconds as the RFC has it.
pub fn hit_status(ttl_ms: u64) -> Option<HeaderValue> {
    let mut status = String::with_capacity(40);
    write!(status, "wasmyard; hit; ttl={}", ttl_ms / 1_000).ok()?;
    HeaderValue::try_from(status).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn key(template: &str, path: &str, values: &[&str]) -> String {
        let params: Vec<_> = manifest::parameters(path)
            .zip(values)
            .map(|(name, value)| (name.into(), (*value).to_owned()))
            .collect();
        KeyTemplate::new(template, path).key(&params)
    }

    #[test]
    fn parameters_stand_where_the_template_names_them() {
        assert_eq!(key("users:all", "/users", &[]), "users:all");
        assert_eq!(key("users:{id}", "/users/{id}", &["7"]), "users:7");
        assert_eq!(key("{b}/{a}!", "/x/{a}/y/{b}", &["1", "2"]), "2/1!");
        // A parameter's own braces are text.
        assert_eq!(key("{a}{b}", "/{a}/{b}", &["{b}", "2"]), "{b}2");
    }

    #[test]
    fn only_a_plain_get_asks_for_what_is_stored() {
        let with = |name: &'static str| {
            let headers: HeaderMap =
                [(http::HeaderName::from_static(name), HeaderValue::from_static("x"))].into_iter().collect();
            asks_for_stored(&Method::GET, None, &headers)
        };
        assert!(with("accept") && with("cookie"));
        assert!(!with("cache-control") && !with("authorization"));
        assert!(asks_for_stored(&Method::GET, Some(""), &HeaderMap::new()));
        assert!(!asks_for_stored(&Method::GET, Some("limit=2"), &HeaderMap::new()));
        assert!(!asks_for_stored(&Method::POST, None, &HeaderMap::new()));
    }

    #[test]
    fn an_answer_that_differs_by_who_asks_is_for_nobody_else() {
        let answer = |status: u16, field: &'static str| Response {
            status: StatusCode::from_u16(status).unwrap(),
            headers: [(http::HeaderName::from_static(field), HeaderValue::from_static("x"))]
                .into_iter()
                .collect(),
            body: Bytes::new(),
        };
        assert!(is_for_everybody(&answer(200, "link")));
        assert!(!is_for_everybody(&answer(200, "vary")));
        assert!(!is_for_everybody(&answer(200, "set-cookie")));
        assert!(!is_for_everybody(&answer(404, "link")));
    }

    #[test]
    fn a_hit_says_how_long_it_lasts() {
        assert_eq!(hit_status(42_999).unwrap(), "wasmyard; hit; ttl=42");
    }
}

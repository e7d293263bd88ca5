//! Conditional requests: a client that has the current answer is told so instead of
//! being sent it again.

use std::io::Write as _;

use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED,
};
use http::{HeaderValue, Method, StatusCode};
use xxhash_rust::xxh3::xxh3_128;

use crate::runtime::Response;

/// Gives an answer 200 to a GET or HEAD a strong `ETag` made from its body (RFC 9110,
/// section 8.8.3) unless the service gave one, and turns it into 304 when the
/// request's `If-None-Match` fields name it (section 13.1.2).
///
/// The tag is a hash of 128 bits: not secret and not proof against forgery, which no
/// reader relies on, but two bodies of one address never share it by accident.
pub fn conditional(method: &Method, if_none_match: &[HeaderValue], response: &mut Response) {
    if response.status != StatusCode::OK || !(method == Method::GET || method == Method::HEAD) {
        return;
    }
    let current = match response.headers.get(ETAG) {
        Some(given) => given.clone(),
        None => {
            let Some(made) = entity_tag(&response.body) else { return };
            response.headers.insert(ETAG, made.clone());
            made
        }
    };
    if if_none_match.iter().any(|field| names(field.as_bytes(), current.as_bytes())) {
        not_modified(response);
    }
}

/// The tag of a body: two quotes and 32 hexadecimal digits.
pub fn entity_tag(body: &[u8]) -> Option<HeaderValue> {
    let mut tag = [0; 34];
    write!(&mut tag[..], "\"{:032x}\"", xxh3_128(body)).ok()?;
    HeaderValue::from_bytes(&tag).ok()
}

/// RFC 9110, section 15.4.5: what describes the body that is left out goes with it;
/// `ETag`, `Cache-Control`, `Vary`, `Expires`, `Content-Location` and `Date` stay.
fn not_modified(response: &mut Response) {
    response.status = StatusCode::NOT_MODIFIED;
    response.body.clear();
    for name in
        [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE, LAST_MODIFIED]
    {
        response.headers.remove(name);
    }
}

/// Whether a field `*` or `"a", W/"b"` names the tag, by the weak comparison (RFC
/// 9110, section 8.8.3.2). What is not a list of tags names nothing: the worst that
/// follows is a body sent once more.
fn names(field: &[u8], tag: &[u8]) -> bool {
    let mut rest = field.trim_ascii();
    if rest == b"*" {
        return true;
    }
    let tag = opaque(tag);
    while let Some((candidate, after)) = next_tag(rest) {
        if candidate == tag {
            return true;
        }
        rest = after;
    }
    false
}

/// The next tag of a list, without its weakness, and what follows it. A tag may have
/// a comma between its quotes, so the list cannot simply be split.
fn next_tag(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = list.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
    let list = opaque(&list[start..]);
    let inside = list.strip_prefix(b"\"")?;
    let end = inside.iter().position(|byte| *byte == b'"')?;
    Some((&list[..end + 2], &inside[end + 1..]))
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    fn answer(body: &'static str) -> Response {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("cache-control", HeaderValue::from_static("max-age=5"));
        headers.insert("vary", HeaderValue::from_static("accept"));
        Response { status: StatusCode::OK, headers, body: Bytes::from_static(body.as_bytes()) }
    }

    fn asking(if_none_match: &[&'static str]) -> Vec<HeaderValue> {
        if_none_match.iter().map(|field| HeaderValue::from_static(field)).collect()
    }

    #[test]
    fn the_tag_is_strong_and_follows_the_body() {
        let tag = |body| {
            let mut response = answer(body);
            conditional(&Method::GET, &[], &mut response);
            assert_eq!(response.status, 200);
            response.headers[ETAG].to_str().unwrap().to_owned()
        };
        assert_eq!(tag("[1]"), tag("[1]"));
        assert_ne!(tag("[1]"), tag("[2]"));
        assert!(tag("[1]").starts_with('"') && tag("[1]").len() == 34);
    }

    #[test]
    fn if_none_match_is_read_as_the_rfc_writes_it() {
        let cases: [(&[&'static str], bool); 14] = [
            (&["\"v1\""], true),
            (&["W/\"v1\""], true),
            (&["*"], true),
            (&[" * "], true),
            (&["\"v0\", \"v1\""], true),
            (&["\"v0\",W/\"v1\" , \"v2\""], true),
            (&["\"v0\"", "\"v1\""], true),
            (&["\"a,b\", \"v1\""], true),
            (&[",, \"v1\""], true),
            (&["\"v0\""], false),
            (&["v1"], false),
            (&["\"x\\\", \"v1"], false),
            (&["\"v0, v1\""], false),
            (&[""], false),
        ];
        for (fields, expected) in cases {
            let mut response = answer("{}");
            response.headers.insert(ETAG, HeaderValue::from_static("\"v1\""));
            conditional(&Method::GET, &asking(fields), &mut response);
            assert_eq!(response.status == 304, expected, "{fields:?}");
        }
    }

    #[test]
    fn a_304_keeps_what_a_cache_needs_and_drops_what_describes_the_body() {
        let mut response = answer("{\"id\":1}");
        conditional(&Method::HEAD, &asking(&["*"]), &mut response);
        assert_eq!(response.status, 304);
        assert!(response.body.is_empty());
        assert!(!response.headers.contains_key(CONTENT_TYPE));
        for name in ["etag", "cache-control", "vary"] {
            assert!(response.headers.contains_key(name), "{name}");
        }
    }

    #[test]
    fn only_a_200_to_get_or_head_is_conditional() {
        let mut created = answer("{}");
        created.status = StatusCode::CREATED;
        conditional(&Method::GET, &asking(&["*"]), &mut created);
        assert_eq!(created.status, 201);

        let mut posted = answer("{}");
        conditional(&Method::POST, &asking(&["*"]), &mut posted);
        assert_eq!(posted.status, 200);
        assert!(!posted.headers.contains_key(ETAG));
    }
}

//! One file, in the forms in which it is sent.

use std::io::Write as _;
use std::path::Path;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    REFERRER_POLICY, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::policy;
use crate::runtime::Response;

/// What a page may do: use what this host serves, and nothing from elsewhere; no script or
/// style that stands in the page itself, so that text which ends up there never runs (CSP
/// level 3). Nobody may put it into a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// A file below this is sent as it is: it fits into the first packets either way.
const COMPRESSED_BYTES_MIN: usize = 1024;

/// A file and what is sent with it.
#[derive(Debug)]
pub(super) struct Page {
    plain: Form,
    /// The same compressed, where that makes it smaller.
    gzip: Option<Form>,
}

#[derive(Debug)]
struct Form {
    body: Bytes,
    headers: HeaderMap,
}

impl Page {
    /// A file of this content, with a media type made from its name.
    pub(super) fn new(file: &Path, body: Vec<u8>) -> Self {
        let headers = headers(file);
        let gzip = compressed(&body).map(|body| {
            let mut headers = headers.clone();
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            Form::new(body, headers)
        });
        Self { plain: Form::new(body, headers), gzip }
    }

    /// The form that the client prefers.
    pub(super) fn response(&self, asked: &HeaderMap) -> Response {
        let form = match &self.gzip {
            Some(gzip) if accepts_gzip(asked) => gzip,
            _ => &self.plain,
        };
        Response { status: StatusCode::OK, headers: form.headers.clone(), body: form.body.clone() }
    }
}

impl Form {
    /// Each form has a tag of its own (RFC 9110, section 8.8.3.3).
    fn new(body: Vec<u8>, mut headers: HeaderMap) -> Self {
        if let Some(tag) = policy::entity_tag(&body) {
            headers.insert(ETAG, tag);
        }
        Self { body: body.into(), headers }
    }
}

fn headers(file: &Path) -> HeaderMap {
    let media = mime_guess::from_path(file).first_or_octet_stream();
    let text = media.type_() == mime_guess::mime::TEXT;
    let media = if text { format!("{media}; charset=utf-8") } else { media.to_string() };
    let mut headers: HeaderMap = [
        // Asked for anew each time, and sent anew only when it has changed: a page and its
        // scripts are never of two versions for longer than that.
        (CACHE_CONTROL, "no-cache"),
        (VARY, "accept-encoding"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ]
    .into_iter()
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
    .collect();
    if let Ok(media) = HeaderValue::from_str(&media) {
        headers.insert(CONTENT_TYPE, media);
    }
    headers
}

fn compressed(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() < COMPRESSED_BYTES_MIN {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).ok()?;
    // What is compressed already (an image) only grows.
    encoder.finish().ok().filter(|compressed| compressed.len() < body.len())
}

/// Whether `Accept-Encoding` takes gzip (RFC 9110, section 12.5.3). A weight other than 0 is
/// as good as another: there are two forms, and the smaller one is better for everybody.
fn accepts_gzip(asked: &HeaderMap) -> bool {
    let fields = asked.get_all(ACCEPT_ENCODING).iter().filter_map(|field| field.to_str().ok());
    let mut any = None;
    for coding in fields.flat_map(|field| field.split(',')) {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().trim_start_matches(['q', 'Q']).trim_start_matches('=');
        let taken = weight.parse().is_ok_and(|weight: f32| weight > 0.0) || weight.is_empty();
        match name.trim() {
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => return taken,
            "*" => any = Some(taken),
            _ => {}
        }
    }
    any.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        let cases = [
            ("gzip", true),
            ("deflate, GZIP", true),
            ("br;q=1.0, gzip;q=0.8, *;q=0.1", true),
            ("*", true),
            ("gzip;q=0, *", false),
            ("gzip; q=0.000", false),
            ("*;q=0", false),
            ("identity", false),
            ("", false),
        ];
        for (field, expected) in cases {
            let asked = [(ACCEPT_ENCODING, HeaderValue::from_static(field))].into_iter().collect();
            assert_eq!(accepts_gzip(&asked), expected, "{field:?}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}

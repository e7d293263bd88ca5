//! The page that shows the document, and Swagger UI, which it is made of.
//!
//! `assets/swagger-ui/` has the files of the npm package, as they are there;
//! `scripts/swagger-ui.sh` fetches and compares them. The page asks nobody but this host, and
//! its policy lets it ask nobody else, whatever a component writes into its description.

use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};

use crate::runtime::Response;

/// Swagger UI draws with styles of its own and with pictures that it carries in them; all
/// else is this host's.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What in the page stands for its own path.
const HERE: &str = "{here}";

/// A file of the documentation.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::gateway) struct File {
    /// Its path after `server.docs_path`.
    path: &'static str,
    content_type: &'static str,
    content: &'static [u8],
}

macro_rules! files {
    ($($path:literal: $content_type:literal, $file:literal;)+) => {
        [$(File {
            path: $path,
            content_type: $content_type,
            content: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/", $file)),
        }),+]
    };
}

static FILES: [File; 6] = files! {
    "": "text/html; charset=utf-8", "docs/page.html";
    "/page.js": "text/javascript; charset=utf-8", "docs/page.js";
    "/page.css": "text/css; charset=utf-8", "docs/page.css";
    "/icon.png": "image/png", "swagger-ui/favicon-32x32.png";
    "/swagger-ui.js": "text/javascript; charset=utf-8", "swagger-ui/swagger-ui-bundle.js";
    "/swagger-ui.css": "text/css; charset=utf-8", "swagger-ui/swagger-ui.css";
};

/// The file of a path after `server.docs_path`.
pub(super) fn named(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

impl File {
    /// The file, asked for at this path.
    pub(super) fn response(&self, path: &str) -> Response {
        let body = match (self.path, std::str::from_utf8(self.content)) {
            // The manifest allows no character in the path that is not one in HTML.
            ("", Ok(page)) => page.replace(HERE, &path.replace('&', "&amp;")).into(),
            _ => Bytes::from_static(self.content),
        };
        let mut response = Response { body, ..Response::default() };
        for (name, value) in [
            (CONTENT_TYPE, self.content_type),
            (CONTENT_SECURITY_POLICY, POLICY),
            (REFERRER_POLICY, "no-referrer"),
            // The next release of the host may have others, at the same paths.
            (CACHE_CONTROL, "no-cache"),
        ] {
            response.headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

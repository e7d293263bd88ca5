use std::fs;

use http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY,
};
use http::request::Parts;
use tempfile::TempDir;

use super::*;

/// All of it: a directive that is lost or loosened is not noticed otherwise.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    folder
}

fn asking(method: Method, path: &str, encoding: &str) -> Parts {
    let request = http::Request::builder().method(method).uri(path).header(ACCEPT_ENCODING, encoding);
    request.body(()).unwrap().into_parts().0
}

fn get(pages: &Pages, path: &str) -> Option<Response> {
    pages.reply(&asking(Method::GET, path, "identity"), &RequestId::new())
}

#[test]
fn files_are_served_by_name_and_a_folder_by_its_index() {
    let folder = folder(&[
        ("index.html", "<h1>Shop</h1>"),
        ("app.js", "run()"),
        ("help/index.html", "<h1>Help</h1>"),
        (".secret", "no"),
        (".git/config", "no"),
    ]);
    let pages = Pages::load(folder.path()).unwrap();
    for (path, media, body) in [
        ("/", "text/html; charset=utf-8", "<h1>Shop</h1>"),
        ("/app.js", "text/javascript; charset=utf-8", "run()"),
        ("/help/", "text/html; charset=utf-8", "<h1>Help</h1>"),
    ] {
        let response = get(&pages, path).expect(path);
        assert_eq!(response.body, body);
        assert_eq!(response.headers[CONTENT_TYPE], media);
        assert_eq!(response.headers[CONTENT_SECURITY_POLICY], POLICY);
        assert_eq!(response.headers[REFERRER_POLICY], "no-referrer");
        assert_eq!(response.headers["cross-origin-opener-policy"], "same-origin");
    }
    for path in ["/index.html", "/help", "/.secret", "/.git/config", "/../app.js", "//app.js", "/app.js/"] {
        assert!(get(&pages, path).is_none(), "{path}");
    }
}

#[test]
fn only_reading_is_allowed() {
    let folder = folder(&[("index.html", "x")]);
    let pages = Pages::load(folder.path()).unwrap();
    let reply = |method| pages.reply(&asking(method, "/", ""), &RequestId::new()).unwrap();
    assert_eq!(reply(Method::HEAD).status, 200);
    assert_eq!(reply(Method::OPTIONS).status, 204);
    let refused = reply(Method::POST);
    assert_eq!(refused.status, 405);
    assert_eq!(refused.headers[ALLOW], "GET, HEAD, OPTIONS");
}

#[test]
fn each_form_has_its_own_tag_and_what_does_not_shrink_is_sent_as_it_is() {
    let folder = folder(&[("app.js", &"long ".repeat(1_000)), ("short.js", "x")]);
    let pages = Pages::load(folder.path()).unwrap();
    let ask = |path, encoding| pages.reply(&asking(Method::GET, path, encoding), &RequestId::new()).unwrap();
    let (plain, gzip) = (ask("/app.js", "identity"), ask("/app.js", "gzip"));
    assert_eq!(gzip.headers[CONTENT_ENCODING], "gzip");
    assert!(gzip.body.len() < plain.body.len() / 10);
    assert_ne!(gzip.headers[ETAG], plain.headers[ETAG]);
    let mut unpacked = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*gzip.body), &mut unpacked).unwrap();
    assert_eq!(unpacked.as_bytes(), plain.body);
    assert!(!ask("/short.js", "gzip").headers.contains_key(CONTENT_ENCODING));
}

#[test]
fn what_cannot_be_served_is_named() {
    let spaced = folder(&[("two words.html", "x")]);
    assert!(
        matches!(Pages::load(spaced.path()), Err(PagesError::Name(path)) if path.ends_with("two words.html"))
    );

    let linked = folder(&[("index.html", "x")]);
    std::os::unix::fs::symlink("/etc/hostname", linked.path().join("host.txt")).unwrap();
    assert!(matches!(Pages::load(linked.path()), Err(PagesError::Link(path)) if path.ends_with("host.txt")));

    let large = folder(&[]);
    let file = fs::File::create(large.path().join("film.mp4")).unwrap();
    file.set_len(crate::limits::PAGES_BYTES_MAX as u64 + 1).unwrap();
    assert!(matches!(Pages::load(large.path()), Err(PagesError::TooLarge { .. })));

    // Folders count as well: each one is watched.
    let wide = folder(&[]);
    for number in 0..crate::limits::PAGES_FILES_MAX {
        fs::create_dir(wide.path().join(number.to_string())).unwrap();
    }
    assert!(matches!(Pages::load(wide.path()), Err(PagesError::TooLarge { .. })));

    let missing = large.path().join("missing");
    assert!(matches!(Pages::load(&missing), Err(PagesError::Unreadable(path, _)) if path == missing));
}

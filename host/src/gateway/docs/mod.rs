//! The documentation of the API: `server.docs_path`.
//!
//! ```text
//! what each active version says of itself (`runtime/description.rs`)
//!   → the routes that lead to it, and what the manifest adds to them (`whole.rs`, `operation.rs`)
//!   → one document, names told apart (`names.rs`, `merge.rs`), with the host's own
//!     endpoints (`own.rs`)
//!   → shown by Swagger UI, which the host carries (`files.rs`)
//! ```
//!
//! A service's own port has the documentation of that service, with its direct routes. No
//! version is asked again once it has answered, and nothing is merged twice of the same versions.
//! A description has been checked when it comes here, and still nothing relies on its form: a
//! member that is not what it should be is passed over.

mod events;
mod files;
mod merge;
mod names;
mod operation;
mod own;
mod problems;
#[cfg(test)]
mod tests;
mod whole;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LOCATION};
use http::{HeaderValue, Method, StatusCode};

use files::File;
pub(super) use problems::EXAMPLE_ID;

use crate::policy;
use crate::problem::Problem;
use crate::router::{Router, Settings};
use crate::runtime::{Description, RequestId, Response};

/// What stands at a path of the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// The document, as a program reads it.
    Document,
    /// The same as people read it, and what that is made of.
    File(&'static File),
    /// The path with a slash at its end, as people write it.
    Slash,
}

/// What stands at a path; `None` when it is none of the documentation.
pub(super) fn page(settings: &Settings, path: &str) -> Option<Page> {
    match path.strip_prefix(settings.docs_path.as_deref()?)? {
        "/openapi.json" => Some(Page::Document),
        "/" => Some(Page::Slash),
        rest => files::named(rest).map(Page::File),
    }
}

/// Answers for the public listener, or for the own port of a service.
pub(super) async fn reply(
    router: &Router,
    page: Page,
    service: Option<&str>,
    method: &Method,
    path: &str,
    id: &RequestId,
) -> Response {
    if let Some(response) = super::other_method(method, path, id) {
        return response;
    }
    match page {
        Page::Document => match document(router, service).await {
            Some(document) => document.response(),
            None => Problem::not_found().response(id, path),
        },
        Page::File(file) => file.response(path),
        Page::Slash => {
            let mut response = Response { status: StatusCode::PERMANENT_REDIRECT, ..Response::default() };
            if let Ok(location) = HeaderValue::from_str(path.trim_end_matches('/')) {
                response.headers.insert(LOCATION, location);
            }
            response
        }
    }
}

/// The documents of one router, the public one and those of services by themselves, as they
/// were last asked for.
#[derive(Default)]
pub(crate) struct Documents(Mutex<HashMap<Option<Arc<str>>, Arc<Document>>>);

/// A merged document.
struct Document {
    /// What it was merged of.
    parts: Vec<Arc<Description>>,
    body: Bytes,
    tag: Option<HeaderValue>,
}

impl Document {
    fn response(&self) -> Response {
        let mut response = Response { body: self.body.clone(), ..Response::default() };
        response.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // A swap changes it: whoever has it asks whether it is still so.
        response.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Some(tag) = &self.tag {
            response.headers.insert(ETAG, tag.clone());
        }
        response
    }
}

/// Where the document is, unless the manifest says otherwise.
const DOCUMENT_PATH: &str = "/api/docs/openapi.json";

/// Describes all of this, as OpenAPI 3.1 has it.
///
/// It is made of what the versions that serve at this moment say of themselves.
#[utoipa::path(get, path = DOCUMENT_PATH, responses(
    (status = 200, description = "This document.", body = Object, content_type = "application/json"),
))]
// `None`: there is no service of that name.
async fn document(router: &Router, service: Option<&str>) -> Option<Arc<Document>> {
    let table = match service {
        Some(service) => router.of(service)?,
        None => router.public(),
    };
    let asked =
        router.services().filter(|handler| service.is_none_or(|service| **handler.name() == *service));
    let parts: Vec<_> = join_all(asked.map(|handler| async move {
        let description = handler.description().await?;
        Some((handler.name().clone(), description))
    }))
    .await
    .into_iter()
    .flatten()
    .collect();

    let key = service.map(Into::into);
    let same = |document: &&Arc<Document>| {
        document.parts.len() == parts.len()
            && document.parts.iter().zip(&parts).all(|(old, (_, new))| Arc::ptr_eq(old, new))
    };
    let documents = || router.documents().0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = documents().get(&key).filter(same) {
        return Some(known.clone());
    }
    let merged = merge::merge(router.settings(), table, service, &parts);
    let body = Bytes::from(serde_json::to_vec(&merged).unwrap_or_default());
    let tag = policy::entity_tag(&body);
    let parts = parts.into_iter().map(|(_, description)| description).collect();
    let document = Arc::new(Document { parts, body, tag });
    documents().insert(key, document.clone());
    Some(document)
}

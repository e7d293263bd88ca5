//! What a version says of its own API: an OpenAPI 3.1 document, asked for once.
//!
//! A component need not have one. One that has answers `GET` [`DESCRIPTION_PATH`], which no
//! route leads to, and is asked in an instance of its own, which nobody uses after that: a
//! document is larger than what requests need, and what a heap has grown to it keeps.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use serde_json::{Map, Value};

use super::failure::Failure;
use super::message::{Request, RequestId, Response, VersionName};
use super::version::Version;
use crate::limits::{DESCRIPTION_BYTES_MAX, DESCRIPTION_TIMEOUT};

/// Where a component is asked for the description of its API.
pub const DESCRIPTION_PATH: &str = "/openapi.json";

/// A version's description of its API.
#[derive(Debug)]
pub struct Description {
    /// The version.
    pub version: VersionName,
    /// An OpenAPI 3.1 document that refers to nothing beyond its own components.
    pub document: Map<String, Value>,
}

/// Why a description is not used.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    /// The component failed.
    #[error("the component failed: {0}")]
    Failed(Failure),
    /// It answered with something else.
    #[error("the component answered {0}")]
    Answered(StatusCode),
    /// The document is beyond its limit.
    #[error("{0} bytes, more than the {DESCRIPTION_BYTES_MAX} allowed")]
    TooLarge(usize),
    /// It is not JSON, or not an object.
    #[error("it is no JSON object: {0}")]
    NotJson(serde_json::Error),
    /// It is a document of another version of the specification.
    #[error("it is no OpenAPI 3.1 document")]
    NotOpenApi,
    /// It refers to what is not in it.
    #[error("it refers to {0:?}, which is not among its own components")]
    Reference(String),
}

/// Asks a version. `None`: it has no description, or none that can be used, which the log
/// says.
///
/// # Errors
/// There was no instance to ask at this moment.
pub(super) async fn ask(version: &Version) -> Result<Option<Arc<Description>>, Failure> {
    let request = Request::get(DESCRIPTION_PATH, RequestId::new(), Instant::now() + DESCRIPTION_TIMEOUT);
    let read = match version.answer_aside(request).await {
        Ok(response) => read(&response),
        Err(failure @ (Failure::NoInstance(_) | Failure::Retired)) => return Err(failure),
        Err(failure) => Err(Unfit::Failed(failure)),
    };
    let read = read.unwrap_or_else(|unfit| {
        let version = version.name().field.to_str().unwrap_or_default();
        tracing::warn!(version, "the description of the API is left out: {unfit}");
        None
    });
    Ok(read.map(|document| Arc::new(Description { version: version.name().clone(), document })))
}

fn read(response: &Response) -> Result<Option<Map<String, Value>>, Unfit> {
    match response.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        status => return Err(Unfit::Answered(status)),
    }
    if response.body.len() > DESCRIPTION_BYTES_MAX {
        return Err(Unfit::TooLarge(response.body.len()));
    }
    let document: Map<String, Value> = serde_json::from_slice(&response.body).map_err(Unfit::NotJson)?;
    let version = document.get("openapi").and_then(Value::as_str).unwrap_or_default();
    if !version.starts_with("3.1.") || !document.get("paths").is_some_and(Value::is_object) {
        return Err(Unfit::NotOpenApi);
    }
    let document = Value::Object(document);
    check_references(&document, &document)?;
    let Value::Object(document) = document else { return Err(Unfit::NotOpenApi) };
    Ok(Some(document))
}

/// A reader of the merged document would fetch what stands elsewhere, from wherever the
/// component says.
fn check_references(value: &Value, document: &Value) -> Result<(), Unfit> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| check_references(item, document)),
        Value::Object(members) => {
            members.iter().try_for_each(|(name, member)| match (name.as_str(), member) {
                ("$ref", Value::String(reference)) => {
                    let pointer = reference.strip_prefix('#').filter(|rest| rest.starts_with("/components/"));
                    match pointer.and_then(|pointer| document.pointer(pointer)) {
                        Some(_) => Ok(()),
                        None => Err(Unfit::Reference(reference.clone())),
                    }
                }
                _ => check_references(member, document),
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answered(status: u16, body: impl Into<Vec<u8>>) -> Response {
        let status = StatusCode::from_u16(status).unwrap();
        Response { status, body: body.into().into(), ..Response::default() }
    }

    fn document(schema: &Value) -> Vec<u8> {
        let schemas = json!({ "User": schema, "Name": { "type": "string" } });
        let document = json!({ "openapi": "3.1.0", "paths": {}, "components": { "schemas": schemas } });
        document.to_string().into()
    }

    #[test]
    fn a_component_without_a_description_is_no_fault() {
        assert!(read(&answered(404, "")).unwrap().is_none());
        assert!(matches!(read(&answered(500, "")), Err(Unfit::Answered(StatusCode::INTERNAL_SERVER_ERROR))));
    }

    #[test]
    fn only_a_whole_document_of_its_own_is_used() {
        assert!(
            read(&answered(200, document(&json!({ "$ref": "#/components/schemas/Name" }))))
                .unwrap()
                .is_some()
        );
        for elsewhere in
            ["https://example.com/user.json", "#/components/schemas/None", "#/paths", "user.json"]
        {
            let outcome = read(&answered(200, document(&json!({ "items": [{ "$ref": elsewhere }] }))));
            assert!(matches!(outcome, Err(Unfit::Reference(named)) if named == elsewhere), "{elsewhere}");
        }
        for body in [r#"{"openapi":"3.0.3","paths":{}}"#, r#"{"openapi":"3.1.0"}"#, "{}"] {
            assert!(matches!(read(&answered(200, body)), Err(Unfit::NotOpenApi)), "{body}");
        }
        assert!(matches!(read(&answered(200, "[]")), Err(Unfit::NotJson(_))));
        let large = vec![b' '; DESCRIPTION_BYTES_MAX + 1];
        assert!(matches!(read(&answered(200, large)), Err(Unfit::TooLarge(_))));
    }
}

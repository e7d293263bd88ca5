//! What a version says of its own API: an OpenAPI 3.1 document, asked for until it is there.
//!
//! A component need not have one. One that has answers `GET` [`DESCRIPTION_PATH`], which no
//! route leads to, and is asked in an instance of its own, which nobody uses after that: a
//! document is larger than what requests need, and what a heap has grown to it keeps.

mod known;
mod shape;

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use serde_json::{Map, Value};

pub(super) use known::Known;

use super::failure::Failure;
use super::message::{Request, RequestId, VersionName};
use super::version::Version;
use crate::limits::{DESCRIPTION_BYTES_MAX, DESCRIPTION_TIMEOUT};

/// Where a component is asked for the description of its API.
pub const DESCRIPTION_PATH: &str = "/openapi.json";

/// The kinds of components that a description's references lead to, schemas first: they alone
/// are referred to by schemas.
pub(crate) const KINDS: [&str; 7] =
    ["schemas", "responses", "parameters", "examples", "requestBodies", "headers", "links"];

/// A version's description of its API.
#[derive(Debug)]
pub struct Description {
    /// The version.
    pub version: VersionName,
    /// An OpenAPI 3.1 document that refers to nothing beyond its own components.
    pub document: Map<String, Value>,
}

/// A version that has not said whether it has a description.
#[derive(Debug, thiserror::Error)]
#[error("{version} does not describe its API: {why}")]
pub(super) struct Unanswered {
    /// The version's name.
    version: String,
    why: Why,
}

/// Why it has not.
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("the component failed: {0}")]
    Failed(Failure),
    #[error("the component answered {0}")]
    Status(StatusCode),
}

/// Why a description is not used.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    /// The document is beyond its limit.
    #[error("{0} bytes, more than the {DESCRIPTION_BYTES_MAX} allowed")]
    TooLarge(usize),
    /// It is not JSON, or not an object.
    #[error("it is no JSON object: {0}")]
    NotJson(serde_json::Error),
    /// It is a document of another version of the specification.
    #[error("it is no OpenAPI 3.1 document")]
    NotOpenApi,
    /// It is not formed as the specification has it.
    #[error("what it has, or lacks, at {0} is not OpenAPI 3.1, or not for a service")]
    Shape(String),
    /// It refers to what is not in it.
    #[error("it refers to {0:?}, which is not among its own components")]
    Reference(String),
}

/// Asks a version. `None`: it has no description, or none that can be used, which the log
/// says.
///
/// # Errors
/// It has not answered, or not for good.
pub(super) async fn ask(version: &Version) -> Result<Option<Arc<Description>>, Unanswered> {
    let name = || version.name().field.to_str().unwrap_or_default();
    let unanswered = |why| Unanswered { version: name().to_owned(), why };
    let request = Request::get(DESCRIPTION_PATH, RequestId::new(), Instant::now() + DESCRIPTION_TIMEOUT);
    let response = version.answer_aside(request).await.map_err(|failure| unanswered(Why::Failed(failure)))?;
    let document = match response.status {
        StatusCode::OK => read(&response.body),
        StatusCode::NOT_FOUND => return Ok(None),
        status => return Err(unanswered(Why::Status(status))),
    };
    let document = document.inspect_err(|unfit| {
        tracing::warn!(version = name(), "the description of the API is left out: {unfit}");
    });
    Ok(document.ok().map(|document| Arc::new(Description { version: version.name().clone(), document })))
}

fn read(body: &[u8]) -> Result<Map<String, Value>, Unfit> {
    if body.len() > DESCRIPTION_BYTES_MAX {
        return Err(Unfit::TooLarge(body.len()));
    }
    // Its depth is bounded by the library: nobody who walks through it runs out of stack.
    let document: Map<String, Value> = serde_json::from_slice(body).map_err(Unfit::NotJson)?;
    let version = document.get("openapi").and_then(Value::as_str).unwrap_or_default();
    if !version.starts_with("3.1.") {
        return Err(Unfit::NotOpenApi);
    }
    shape::check(&document).map_err(Unfit::Shape)?;
    let document = Value::Object(document);
    check_references(&document, &document)?;
    let Value::Object(document) = document else { return Err(Unfit::NotOpenApi) };
    Ok(document)
}

/// Kind and name of the component that a reference leads to; after a slash, the name is
/// followed by the way to a part of it.
pub(crate) fn component_of(reference: &str) -> Option<(&str, &str)> {
    let (kind, name) = reference.strip_prefix("#/components/")?.split_once('/')?;
    KINDS.contains(&kind).then_some((kind, name))
}

/// A reader of the merged document would fetch what stands elsewhere, from wherever the
/// component says.
fn check_references(value: &Value, document: &Value) -> Result<(), Unfit> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| check_references(item, document)),
        Value::Object(members) => {
            members.iter().try_for_each(|(name, member)| match (name.as_str(), member) {
                ("$ref", Value::String(reference)) => {
                    let found =
                        component_of(reference).and_then(|_| document.pointer(reference.strip_prefix('#')?));
                    match found {
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

    const INFO: &str = r#""openapi":"3.1.0","info":{"title":"Users","version":"1"}"#;

    /// A document with one schema and, at `GET /users`, this operation.
    fn document(schema: &Value, operation: &Value) -> String {
        let schemas = json!({ "User": schema, "Name": { "type": "string" } });
        json!({
            "openapi": "3.1.0",
            "info": { "title": "Users", "version": "1" },
            "paths": { "/users": { "get": operation } },
            "components": { "schemas": schemas },
        })
        .to_string()
    }

    #[test]
    fn only_a_whole_document_of_its_own_is_used() {
        let referring = |reference: &str| document(&json!({ "items": { "$ref": reference } }), &json!({}));
        assert!(read(referring("#/components/schemas/Name").as_bytes()).is_ok());
        for elsewhere in ["#/components/schemas/None", "#/components/schemas/Name/properties/x"] {
            let outcome = read(referring(elsewhere).as_bytes());
            assert!(matches!(outcome, Err(Unfit::Reference(named)) if named == elsewhere), "{elsewhere}");
        }
        for elsewhere in
            ["https://example.com/user.json", "#/paths", "user.json", "#/components/securitySchemes/x"]
        {
            assert!(matches!(read(referring(elsewhere).as_bytes()), Err(Unfit::Shape(_))), "{elsewhere}");
            // Where no reference is expected, a reader may follow it all the same.
            let hidden = document(&json!({ "x-more": { "$ref": elsewhere } }), &json!({}));
            assert!(matches!(read(hidden.as_bytes()), Err(Unfit::Reference(_))), "{elsewhere}");
        }
        for body in [r#"{"openapi":"3.0.3","paths":{}}"#, "{}"] {
            assert!(matches!(read(body.as_bytes()), Err(Unfit::NotOpenApi)), "{body}");
        }
        assert!(matches!(read(b"[]"), Err(Unfit::NotJson(_))));
        assert!(matches!(read("[".repeat(10_000).as_bytes()), Err(Unfit::NotJson(_))));
        let large = vec![b' '; DESCRIPTION_BYTES_MAX + 1];
        assert!(matches!(read(&large), Err(Unfit::TooLarge(_))));
    }

    #[test]
    fn what_is_not_formed_as_it_should_be_is_named() {
        let unfit = |document: &str| match read(document.as_bytes()) {
            Err(Unfit::Shape(at)) => at,
            other => panic!("{document}: {other:?}"),
        };
        for (rest, at) in [
            (r#""info":"Users","paths":{}"#, "/info"),
            (r#""info":{"title":7},"paths":{}"#, "/info/title"),
            (r#""info":{"title":"Users"}"#, "/paths"),
        ] {
            assert_eq!(unfit(&format!(r#"{{"openapi":"3.1.0",{rest}}}"#)), at);
        }
        for (rest, at) in [
            (r#""paths":[]"#, "/paths"),
            (r#""paths":{"users":{}}"#, "/paths/users"),
            (r#""paths":{"/a/~b":{"get":7}}"#, "/paths/~1a~1~0b/get"),
            (r##""paths":{"/a":{"$ref":"#/components/pathItems/A"}}"##, "/paths/~1a/$ref"),
            (r#""paths":{},"components":{"schemas":{"a b":{}}}"#, "/components/schemas/a b"),
            (r#""paths":{},"components":{"others":{}}"#, "/components/others"),
        ] {
            assert_eq!(unfit(&format!("{{{INFO},{rest}}}")), at);
        }
        for (operation, at) in [
            (json!({ "responses": [] }), "/responses"),
            (json!({ "responses": { "2000": {} } }), "/responses/2000"),
            (json!({ "responses": { "200": {} } }), "/responses/200/description"),
            (json!({ "responses": { "200": { "$ref": "#/components/schemas/Name" } } }), "/responses/200"),
            (
                json!({ "responses": { "200": { "description": "", "content": [] } } }),
                "/responses/200/content",
            ),
            (
                json!({ "responses": { "200": { "description": "", "headers": { "ETag": 1 } } } }),
                "/responses/200/headers/ETag",
            ),
            (json!({ "parameters": {} }), "/parameters"),
            (json!({ "parameters": [{ "name": "q", "in": "body", "schema": true }] }), "/parameters/0/in"),
            (json!({ "parameters": [{ "name": "q", "in": "query" }] }), "/parameters/0/schema"),
            (json!({ "operationId": null }), "/operationId"),
            (json!({ "unknown": 1 }), "/unknown"),
        ] {
            assert_eq!(unfit(&document(&json!({}), &operation)), format!("/paths/~1users/get{at}"));
        }
        for (schema, at) in [
            (json!(7), ""),
            (json!({ "type": "text" }), "/type"),
            (json!({ "type": [] }), "/type"),
            (json!({ "properties": { "name": "string" } }), "/properties/name"),
            (json!({ "anyOf": [] }), "/anyOf"),
            (json!({ "anyOf": [{ "maxLength": -1 }] }), "/anyOf/0/maxLength"),
            (json!({ "$id": "https://example.com/" }), "/$id"),
            (
                json!({ "discriminator": { "propertyName": "a", "mapping": { "b": "c.json" } } }),
                "/discriminator/mapping/b",
            ),
        ] {
            assert_eq!(unfit(&document(&schema, &json!({}))), format!("/components/schemas/User{at}"));
        }
    }

    #[test]
    fn what_the_specification_leaves_open_stays_open() {
        let schema = json!({
            "type": ["object", "null"],
            "properties": { "type": { "const": 1 }, "$id": true },
            "x-own": { "type": 7 },
            "unknownKeyword": [],
        });
        let operation = json!({
            "x-own": 1,
            "responses": {
                "2XX": { "description": "", "content": { "a/b": {} } },
                "default": { "description": "" },
                "x-own": 1,
            },
        });
        assert!(read(document(&schema, &operation).as_bytes()).is_ok());
    }
}

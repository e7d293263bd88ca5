//! What the host adds to an operation: tokens, limits, and the answers that it gives itself.

use http::Method;
use serde_json::{Map, Value, json};

use super::problems::{self, MEDIA_TYPE};
use super::whole;
use crate::manifest::AuthLevel;
use crate::router::Endpoint;

/// The name under which the document has access tokens.
pub(super) const TOKEN: &str = "access_token";

/// What may answer any request that is passed on to a service.
const ALWAYS: [(&str, &str); 8] = [
    ("400", "Malformed"),
    ("408", "RequestTimeout"),
    ("413", "BodyTooLarge"),
    ("414", "RequestLineTooLong"),
    ("431", "HeadersTooLarge"),
    ("500", "ServiceFailed"),
    ("503", "Unavailable"),
    ("504", "Timeout"),
];

/// What may answer a request that the host answers itself: it reads no body, and enters no guest.
const OWN: [(&str, &str); 4] =
    [("400", "Malformed"), ("414", "RequestLineTooLong"), ("431", "HeadersTooLarge"), ("503", "Unavailable")];

/// The fields of an answer of a limited route.
const RATE_LIMIT: [&str; 5] =
    ["RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"];

/// Makes a service's operation true for the route that leads to it. `shared` are the answers
/// of [`problems::shared`].
pub(super) fn complete(
    operation: &mut Map<String, Value>,
    endpoint: &Endpoint,
    method: &Method,
    shared: &Map<String, Value>,
) {
    let limit = endpoint.limit(method);
    let mut fields = vec!["X-Request-Id"];
    if endpoint.events.is_none() {
        fields.push("Wasmyard-Version");
    }
    if limit.is_some() {
        fields.extend(RATE_LIMIT);
    }
    let access = endpoint.access(method);
    if let Some(role) = access.role() {
        let about = operation.get("description").and_then(Value::as_str).unwrap_or_default();
        let about = format!("{about}\n\nA caller who is known must have the role `{role}`.");
        operation.insert("description".to_owned(), about.trim_start().into());
    }
    // Whom the host lets in is the host's to say.
    operation.remove("security");
    let anybody = json!({});
    let token = json!({ TOKEN: [] });
    match access.level() {
        AuthLevel::None => {}
        AuthLevel::Optional => {
            operation.insert("security".to_owned(), json!([token, anybody]));
        }
        AuthLevel::Required => {
            operation.insert("security".to_owned(), json!([token]));
        }
    }

    whole::declare_segments(operation, endpoint.params.iter().map(|name| &**name));
    let responses = responses(operation);
    write_fields(responses, &fields);
    let always = if endpoint.events.is_some() { &OWN[..] } else { &ALWAYS[..] };
    for (status, name) in always {
        add(responses, status, name, shared);
    }
    let unauthorized = match access.level() {
        AuthLevel::None => None,
        AuthLevel::Optional => Some("InvalidToken"),
        AuthLevel::Required => Some("NoToken"),
    };
    if let Some(name) = unauthorized {
        add(responses, "401", name, shared);
    }
    if access.role().is_some() {
        add(responses, "403", "MissingRole", shared);
    }
    if let Some(limit) = limit {
        let beyond = problems::beyond(limit);
        answers(responses, "429", &beyond, &beyond);
    }
    if method == Method::GET && endpoint.events.is_none() {
        conditional(operation, &fields);
    }
}

/// Makes one of the host's own operations whole: what every answer has, and what may come in
/// its place.
pub(super) fn complete_own(operation: &mut Map<String, Value>, method: &Method, shared: &Map<String, Value>) {
    let fields = ["X-Request-Id"];
    let responses = responses(operation);
    write_fields(responses, &fields);
    for (status, name) in OWN {
        add(responses, status, name, shared);
    }
    if method == Method::GET {
        conditional(operation, &fields);
    }
}

fn responses(operation: &mut Map<String, Value>) -> &mut Map<String, Value> {
    let responses = operation.entry("responses").or_insert(Value::Null);
    if !responses.is_object() {
        *responses = Value::Object(Map::new());
    }
    let Value::Object(responses) = responses else { unreachable!("it has just been made one") };
    responses
}

/// Adds an answer that many operations share.
fn add(responses: &mut Map<String, Value>, status: &str, name: &str, shared: &Map<String, Value>) {
    if let Some(answer) = shared.get(name) {
        answers(responses, status, &reference(name), answer);
    }
}

/// RFC 9110, section 13.1.2: what a client has already is not sent again.
fn conditional(operation: &mut Map<String, Value>, fields: &[&str]) {
    whole::add_parameter(
        operation,
        json!({
            "name": "If-None-Match",
            "in": "header",
            "description": "The `ETag` of what the client has already.",
            "required": false,
            // No example of the parameter: forms would begin with it.
            "schema": { "type": "string", "examples": [problems::EXAMPLE_TAG] },
        }),
    );
    let responses = responses(operation);
    if let Some(ok) = responses.get_mut("200").and_then(Value::as_object_mut) {
        write_field(ok, "ETag");
    }
    let mut unchanged = Map::new();
    unchanged
        .insert("description".to_owned(), "What `If-None-Match` names is what would be answered.".into());
    for name in fields.iter().chain(&["ETag"]) {
        write_field(&mut unchanged, name);
    }
    responses.entry("304").or_insert(unchanged.into());
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/responses/{name}") })
}

/// Adds fields to the answers that the service has described itself.
fn write_fields(responses: &mut Map<String, Value>, names: &[&str]) {
    for response in responses.values_mut().filter_map(Value::as_object_mut) {
        names.iter().for_each(|name| write_field(response, name));
    }
}

fn write_field(response: &mut Map<String, Value>, name: &str) {
    if response.contains_key("$ref") {
        return;
    }
    let headers = response.entry("headers").or_insert_with(|| json!({}));
    if let Some(headers) = headers.as_object_mut() {
        headers.entry(name).or_insert_with(|| problems::header(name));
    }
}

/// Adds an answer of the host's, beside the service's own of the same status if it has one.
fn answers(responses: &mut Map<String, Value>, status: &str, whole: &Value, answer: &Value) {
    let Some(theirs) = responses.get_mut(status) else {
        responses.insert(status.to_owned(), whole.clone());
        return;
    };
    let Some(theirs) = theirs.as_object_mut().filter(|theirs| !theirs.contains_key("$ref")) else { return };
    let (about, ours) = (theirs.get("description").and_then(Value::as_str), answer["description"].as_str());
    if let (Some(about), Some(ours)) = (about, ours)
        && !about.contains(ours)
    {
        let both = format!("{about} {ours}");
        theirs.insert("description".to_owned(), both.into());
    }
    for part in ["headers", "content"] {
        let Some(ours) = answer[part].as_object() else { continue };
        let Some(theirs) = theirs.entry(part).or_insert_with(|| json!({})).as_object_mut() else { continue };
        for (name, ours) in ours {
            // Names of header fields have no case (RFC 9110, section 5.1), and types none either.
            match theirs.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                None => {
                    theirs.insert(name.clone(), ours.clone());
                }
                Some((_, Value::Object(theirs))) if name == MEDIA_TYPE => join(theirs, ours),
                Some(_) => {}
            }
        }
    }
}

/// One kind of content that comes from either side.
fn join(theirs: &mut Map<String, Value>, ours: &Value) {
    // Without a schema it may be anything already.
    if let Some(schema) = theirs.get_mut("schema").filter(|schema| **schema != ours["schema"]) {
        *schema = json!({ "anyOf": [schema.take(), ours["schema"]] });
    }
    // Of the two ways to give examples there may be one (section 4.8.14).
    let example = theirs.remove("example").map(|value| ("1".to_owned(), json!({ "value": value })));
    let examples = theirs.entry("examples").or_insert_with(|| json!({}));
    if let (Some(theirs), Some(ours)) = (examples.as_object_mut(), ours["examples"].as_object()) {
        for (name, example) in example.into_iter().chain(ours.clone()) {
            theirs.entry(name).or_insert(example);
        }
    }
}

//! Routes that lead to a service's events. The host answers them for any service, so it
//! describes them too.

use serde_json::{Value, json};

use super::problems::answer;
use crate::events::{BadCursor, KEY_CHARS_MAX, fault, handshake, refusal};
use crate::limits;
use crate::manifest::{EventForm, Events, KeyForm};
use crate::router::Endpoint;

/// The id of an event ([`crate::events::Cursor`]): two numbers of 64 bits, of which no clock
/// needs the twentieth digit.
const CURSOR: &str = "^[0-9]{1,19}-[0-9]{1,19}$";

/// The members of a path that leads to events in this form.
pub(super) fn item(endpoint: &Endpoint, form: EventForm) -> Value {
    let mut parameters = vec![json!({
        "name": "after",
        "in": "query",
        "description": "The `id` of the last event that the client has: it goes on after that one. What is no longer \
                        kept is told as a `gap`.",
        "required": false,
        "schema": { "type": "string", "pattern": CURSOR },
        "example": "0-0",
    })];
    let topic = endpoint.topic.as_deref();
    parameters.extend(topic.and_then(key));
    let per_client =
        topic.map_or(limits::SUBSCRIBERS_PER_CLIENT_MAX, |topic| topic.subscribers_per_client_max);
    let fault = fault("after", &BadCursor.to_string());
    let mut responses = json!({
        "400": answer("events", vec![refusal::parameters(vec![fault])]),
        "403": answer("events", vec![refusal::foreign_origin()]),
        "429": answer("events", vec![refusal::client_has_all(per_client)]),
        "503": answer("events", vec![refusal::full(), refusal::stopping()]),
    });
    match form {
        EventForm::Sse => {
            parameters.push(json!({
                "name": "Last-Event-ID",
                "in": "header",
                "description": "As `after`, which it goes before; what a browser sends that comes back.",
                "required": false,
                "schema": { "type": "string", "pattern": CURSOR },
                "example": "1732320000000-0",
            }));
            responses["200"] = json!({
                "description": "Events. The answer does not end by itself.",
                "content": { "text/event-stream": { "schema": { "type": "string" } } },
            });
            json!({ "get": {
                "operationId": "events",
                "summary": "Tells what happens, as it happens.",
                "description": "Server-sent events, until the token runs out or the client has had enough. Each has an \
                                `id` to go on after, and its data are the JSON of the event.",
                "parameters": parameters,
                "responses": responses,
            } })
        }
        EventForm::WebSocket => {
            let text = json!({ "type": "string" });
            responses["101"] = json!({
                "description": "The connection is a WebSocket from here on.",
                "headers": {
                    "Upgrade": { "schema": text, "example": "websocket" },
                    "Sec-WebSocket-Accept": { "schema": text, "example": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" },
                    "Sec-WebSocket-Protocol": {
                        "description": "There if the client offers subprotocols.",
                        "schema": text,
                        "example": handshake::SUBPROTOCOL,
                    },
                },
            });
            // What a plain GET is answered.
            let plain = http::Request::new(()).into_parts().0;
            responses["426"] = answer("events", handshake::accept(&plain).err().into_iter().collect());
            json!({ "get": {
                "operationId": "events_by_web_socket",
                "summary": "Tells what happens, as it happens, over a WebSocket.",
                "description": "RFC 6455, with the subprotocol `wasmyard.events.v1`. A browser, which sends no header \
                                fields of its own, offers the token as a second subprotocol: `bearer.TOKEN`. Each \
                                message is the JSON of an event.",
                "parameters": parameters,
                "responses": responses,
            } })
        }
    }
}

/// The parameter that narrows events to one thing's.
fn key(topic: &Events) -> Option<Value> {
    let schema = match topic.key_form {
        KeyForm::Integer => {
            json!({ "type": "integer", "format": "int64", "minimum": 1, "maximum": i64::MAX })
        }
        KeyForm::Text => {
            json!({ "type": "string", "pattern": format!("^[A-Za-z0-9_-]{{1,{KEY_CHARS_MAX}}}$") })
        }
    };
    let example = match topic.key_form {
        KeyForm::Integer => json!(1),
        KeyForm::Text => json!("1"),
    };
    Some(json!({
        "name": topic.key.as_deref()?,
        "in": "query",
        "description": "Only the events of this one.",
        "required": false,
        "schema": schema,
        "example": example,
    }))
}

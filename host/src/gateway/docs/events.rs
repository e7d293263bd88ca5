//! Routes that lead to a service's events. The host answers them for any service, so it
//! describes them too.

use serde_json::{Value, json};

use crate::manifest::EventForm;
use crate::router::Endpoint;

/// The members of a path that leads to events in this form.
pub(super) fn item(endpoint: &Endpoint, form: EventForm) -> Value {
    let mut parameters = vec![json!({
        "name": "after",
        "in": "query",
        "description": "The `id` of the last event that the client has: it goes on after that one. What is no longer \
                        kept is told as a `gap`.",
        "required": false,
        "schema": { "type": "string", "pattern": "^[0-9]{1,20}-[0-9]{1,20}$" },
        "example": "0-0",
    })];
    if let Some(key) = &endpoint.event_key {
        parameters.push(json!({
            "name": &**key,
            "in": "query",
            "description": "Only the events of this one.",
            "required": false,
            "schema": { "type": "string" },
            "example": "1",
        }));
    }
    match form {
        EventForm::Sse => {
            parameters.push(json!({
                "name": "Last-Event-ID",
                "in": "header",
                "description": "As `after`, which it goes before; what a browser sends that comes back.",
                "required": false,
                "schema": { "type": "string" },
            }));
            json!({ "get": {
                "operationId": "events",
                "summary": "Tells what happens, as it happens.",
                "description": "Server-sent events, until the token runs out or the client has had enough. Each has an \
                                `id` to go on after, and its data are the JSON of the event.",
                "parameters": parameters,
                "responses": {
                    "200": {
                        "description": "Events. The answer does not end by itself.",
                        "content": { "text/event-stream": { "schema": { "type": "string" } } },
                    },
                },
            } })
        }
        EventForm::WebSocket => json!({ "get": {
            "operationId": "events_by_web_socket",
            "summary": "Tells what happens, as it happens, over a WebSocket.",
            "description": "RFC 6455, with the subprotocol `wasmyard.events.v1`. A browser, which sends no header \
                            fields of its own, offers the token as a second subprotocol: `bearer.TOKEN`. Each message \
                            is the JSON of an event.",
            "parameters": parameters,
            "responses": {
                "101": { "description": "The connection is a WebSocket from here on." },
                "426": {
                    "description": "The request asks for no WebSocket.",
                    "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/HostProblem" } } },
                },
            },
        } }),
    }
}

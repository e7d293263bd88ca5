//! `[services.NAME.events]`, and the routes that lead there.

use super::reader::{Reading, Table, Text};
use super::route::ReadRoute;
use super::service::is_service_name;
use super::{AuthLevel, EventForm, Events, KeyForm};
use crate::limits;

/// The forms by their names.
const FORMS: [(&str, EventForm); 2] = [("sse", EventForm::Sse), ("websocket", EventForm::WebSocket)];

/// Reads `[services.NAME.events]`, and where its topic stands.
pub(super) fn read(reading: &Reading<'_>, service: &Table<'_, '_>) -> Option<(Events, Option<Text>)> {
    let table = service.table("events")?;
    let topic = table.required_text("topic", "\"orders\"");
    if let Some(topic) = topic.as_ref().filter(|topic| !is_service_name(&topic.value)) {
        let message = format!("{} is no name for a topic", topic.shown());
        let help =
            "a name has lower-case letters, digits and hyphens, begins with a letter, and has at most 63";
        reading.record(reading.fault(&topic.span, message).help(help));
    }
    let events = Events {
        topic: topic.as_ref().map(|topic| topic.value.clone()).unwrap_or_default(),
        key: table.text("key").map(|name| parameter(reading, &table, name)),
        key_form: table.text("key_form").map_or(KeyForm::Text, |form| key_form(reading, &form)),
        all: table.text("all").map(|role| role.value),
        keep: table.integer("keep", limits::EVENTS_KEPT_RANGE, limits::EVENTS_KEPT),
        origins: table
            .texts("origins")
            .unwrap_or_default()
            .into_iter()
            .filter(|origin| !origin.value.is_empty())
            .map(|text| origin(reading, text))
            .collect(),
        subscribers_max: table.integer("subscribers_max", limits::SUBSCRIBERS_RANGE, limits::SUBSCRIBERS_MAX),
        subscribers_per_client_max: table.integer(
            "subscribers_per_client_max",
            limits::SUBSCRIBERS_RANGE,
            limits::SUBSCRIBERS_PER_CLIENT_MAX,
        ),
    };
    table.finish();
    Some((events, topic))
}

/// Reads the key `events` of a route.
pub(super) fn read_form(reading: &Reading<'_>, route: &Table<'_, '_>) -> Option<(EventForm, Text)> {
    let text = route.text("events")?;
    let known = FORMS.into_iter().find(|(name, _)| *name == text.value);
    if known.is_none() {
        let fault = reading
            .fault(&text.span, format!("unknown form of `events` {}", text.shown()))
            .nearest(&text.value, FORMS.map(|(name, _)| name))
            .help("valid: \"sse\" (server-sent events), \"websocket\"");
        reading.record(fault);
    }
    known.map(|(_, form)| (form, text))
}

/// Checks the routes that lead to events: there are some, and a caller has to be known to be
/// told what is theirs.
pub(super) fn check(reading: &Reading<'_>, events: Option<&Events>, routes: &[ReadRoute], public: bool) {
    for read in routes {
        let Some(form) = &read.events else { continue };
        let record = |message: &str, hint: &str| {
            reading.record(reading.fault(&form.span, message).hint(hint));
        };
        let route = &read.route;
        if !public {
            record("only a public route leads to events", "the service's own port has the public ones too");
        } else if events.is_none() {
            record("the service has no events", "add a table `events` with their `topic`");
        } else if route.methods != ["GET"] || route.cache.is_some() {
            record("events are asked for by GET alone, and not cached", "methods = [\"GET\"]");
        } else if route.auth.level("GET", false) != AuthLevel::Required {
            record("events are told to known callers alone", "add `auth = \"required\"`");
        }
    }
}

fn parameter(reading: &Reading<'_>, table: &Table<'_, '_>, name: Text) -> String {
    let legal = !name.value.is_empty()
        && name.value.len() <= 64
        && name.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if !legal || name.value == "after" {
        let message = format!("`{}`: {} is no name for a parameter", table.full("key"), name.shown());
        let help = "letters, digits, `_` and `-`; `after` is the host's own";
        reading.record(reading.fault(&name.span, message).help(help));
    }
    name.value
}

fn key_form(reading: &Reading<'_>, text: &Text) -> KeyForm {
    match text.value.as_str() {
        "integer" => KeyForm::Integer,
        "text" => KeyForm::Text,
        _ => {
            let fault = reading
                .fault(&text.span, format!("unknown `key_form` {}", text.shown()))
                .nearest(&text.value, ["integer", "text"])
                .help("valid: \"text\", \"integer\" (a positive one)");
            reading.record(fault);
            KeyForm::Text
        }
    }
}

/// As a browser writes it (RFC 6454, section 6.2): a scheme, a host, and a port that is not
/// the scheme's own.
fn origin(reading: &Reading<'_>, text: Text) -> String {
    let host = text.value.strip_prefix("https://").or_else(|| text.value.strip_prefix("http://"));
    let legal = host.is_some_and(|host| {
        !host.is_empty() && !host.contains(['/', '?', '#', '@']) && host == host.to_ascii_lowercase()
    });
    if !legal {
        let fault = reading.fault(&text.span, format!("{} is no origin", text.shown()));
        reading.record(fault.help("for example: \"https://shop.example.com\""));
    }
    text.value
}

//! What a subscriber reads beside the events: the same words on both ways.

use bytes::Bytes;
use serde_json::json;

use super::event::Cursor;
use super::step::{End, Gap};

/// Everything before this place has been told.
pub(super) const READY: &str = "ready";
/// Events that are gone.
pub(super) const GAP: &str = "gap";
/// Nothing more will come. A WebSocket has its close for that.
pub(super) const CLOSED: &str = "closed";

/// `{"id": "…", "type": "ready"}`
pub(super) fn ready(at: Cursor) -> Bytes {
    json!({ "id": at.to_string(), "type": READY }).to_string().into()
}

/// `{"id": "…", "type": "gap", "after": "…", "resume_from": "…"}`, where `id` is
/// `resume_from`.
pub(super) fn gap(gap: &Gap) -> Bytes {
    let (after, resume_from) = (gap.after.to_string(), gap.resume_from.to_string());
    json!({ "id": resume_from, "type": GAP, "after": after, "resume_from": resume_from }).to_string().into()
}

/// `{"type": "closed", "code": 1013, "reason": "slow", "after": "…"}`: where to go on.
pub(super) fn closed(end: End, told: Option<Cursor>) -> Bytes {
    let after = told.map(|told| told.to_string());
    json!({ "type": CLOSED, "code": end.code(), "reason": end.reason(), "after": after }).to_string().into()
}

/// The reason in a WebSocket's close: JSON too, and less than the 123 bytes that fit
/// (RFC 6455, section 5.5.1).
pub(super) fn close_reason(end: End, told: Option<Cursor>) -> String {
    json!({ "reason": end.reason(), "after": told.map(|told| told.to_string()) }).to_string()
}

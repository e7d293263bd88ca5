//! Where in a trace one stands, and how that is written (W3C Trace Context, level 2).

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use opentelemetry::TraceFlags;
use opentelemetry::trace::{SpanContext, TraceState};

use super::tracer::Recorder;
use crate::limits::{TRACESTATE_BYTES_MAX, TRACESTATE_MEMBERS_MAX};

/// The field with trace, span and flags.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The field with what tracing systems have to say to themselves.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The trace is recorded by who made the context.
const SAMPLED: u8 = 0b01;
/// The trace's id has 56 random bits at its end at least.
const RANDOM: u8 = 0b10;
/// `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const LENGTH: usize = 55;

/// A trace's id, which shows as 32 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(pub(super) u128);

/// A span in a trace: the one that new spans come under, and who records them, if anybody
/// does.
#[derive(Debug, Clone)]
pub struct TraceContext {
    pub(super) trace_id: TraceId,
    pub(super) span_id: u64,
    flags: u8,
    /// Somebody else's span; otherwise the id is that of a span here, or of the first one.
    pub(super) is_remote: bool,
    /// Passed along as it came.
    state: Option<Arc<str>>,
    pub(super) recorder: Option<Recorder>,
}

impl TraceContext {
    /// That of a request whose fields nobody has looked at yet, since nobody records or logs
    /// it: see [`TraceContext::known`].
    pub const UNKNOWN: Self =
        Self { trace_id: TraceId(0), span_id: 0, flags: 0, is_remote: false, state: None, recorder: None };

    /// A new trace, which nobody records yet.
    pub fn new() -> Self {
        Self {
            trace_id: TraceId(fastrand::u128(..).max(1)),
            span_id: new_span_id(),
            flags: RANDOM,
            is_remote: false,
            state: None,
            recorder: None,
        }
    }

    /// The span that a request's fields name, or else a new trace. What is not valid is as
    /// if it were not there.
    pub fn of_request(headers: &HeaderMap) -> Self {
        let mut named = headers.get_all(TRACEPARENT).iter();
        let parent = match (named.next(), named.next()) {
            (Some(only), None) => only.to_str().ok().and_then(Self::parse),
            _ => None,
        };
        match parent {
            Some(parent) => Self { state: state_of(headers), ..parent },
            None => Self::new(),
        }
    }

    /// The same; if it is not known yet, that of a request's fields.
    #[must_use]
    pub fn known(&self, headers: &HeaderMap) -> Self {
        if self.trace_id == Self::UNKNOWN.trace_id { Self::of_request(headers) } else { self.clone() }
    }

    /// Reads a `traceparent` (section 3.2): of version 00, or the part of a later version
    /// that this one knows.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let bytes = traceparent.as_bytes();
        let (known, rest) = bytes.split_at_checked(LENGTH)?;
        let [v0, v1, b'-', id @ .., b'-', f0, f1] = known else { return None };
        let (trace_id, span_id) = id.split_at_checked(32)?;
        let span_id = span_id.strip_prefix(b"-")?;
        let version = hex(&[*v0, *v1])?;
        let ends_well = if version == 0 { rest.is_empty() } else { rest.is_empty() || rest[0] == b'-' };
        let (trace_id, span_id) = (hex(trace_id)?, u64::try_from(hex(span_id)?).ok()?);
        let flags = u8::try_from(hex(&[*f0, *f1])?).ok()? & (SAMPLED | RANDOM);
        let valid = version != 0xff && ends_well && trace_id != 0 && span_id != 0;
        let trace_id = TraceId(trace_id);
        valid.then_some(Self { trace_id, span_id, flags, is_remote: true, state: None, recorder: None })
    }

    /// As a `traceparent`.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }

    /// As a `tracestate`, if it came with one.
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The trace's id.
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// Whether somebody who had a say before us records the trace, or we do.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Whether new spans under it are recorded here.
    pub fn is_recorded(&self) -> bool {
        self.recorder.is_some()
    }

    /// The same, recorded by `recorder` from now on, or by nobody; its flag says which to
    /// whoever comes after.
    pub(super) fn recorded(self, recorder: Option<Recorder>) -> Self {
        let sampled = if recorder.is_some() { SAMPLED } else { 0 };
        Self { flags: self.flags & !SAMPLED | sampled, recorder, ..self }
    }

    /// The same, of a trace that is kept only if something happens in it.
    pub(super) fn held(self) -> Self {
        Self { recorder: self.recorder.map(Recorder::held), ..self }
    }

    /// The same, for spans of another service.
    #[must_use]
    pub fn of_service(&self, service: &Arc<str>) -> Self {
        let recorder = self.recorder.as_ref().map(|recorder| recorder.of_service(service));
        Self { recorder, ..self.clone() }
    }

    /// The span `span_id` of the same trace.
    pub(super) fn at(&self, span_id: u64) -> Self {
        Self { span_id, is_remote: false, ..self.clone() }
    }

    /// As the exporter has it.
    pub(super) fn span_context(&self) -> SpanContext {
        let state = self.state.as_deref().and_then(|state| TraceState::from_str(state).ok());
        SpanContext::new(
            self.trace_id.0.into(),
            self.span_id.into(),
            TraceFlags::new(self.flags),
            self.is_remote,
            state.unwrap_or_default(),
        )
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Default for TraceContext {
    fn default() -> Self {
        Self::new()
    }
}

pub(super) fn new_span_id() -> u64 {
    fastrand::u64(..).max(1)
}

/// Digits in lower case, as the specification has them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// The fields' list, as one; `None` when a member is not legal (section 3.3). Beyond its
/// bounds the last members go first, as those that have been there longest.
fn state_of(headers: &HeaderMap) -> Option<Arc<str>> {
    let mut state = String::new();
    let mut members = 0;
    for field in headers.get_all(TRACESTATE) {
        for member in field.to_str().ok()?.split(',').map(|member| member.trim_matches([' ', '\t'])) {
            // An empty member is legal, and says nothing.
            if member.is_empty() {
                continue;
            }
            if !is_member(member) {
                return None;
            }
            members += 1;
            if members > TRACESTATE_MEMBERS_MAX || state.len() + 1 + member.len() > TRACESTATE_BYTES_MAX {
                return Some(state.into());
            }
            if !state.is_empty() {
                state.push(',');
            }
            state.push_str(member);
        }
    }
    (!state.is_empty()).then(|| state.into())
}

fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    let first = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let printable = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'=';
    key.as_bytes().first().is_some_and(first)
        && key.len() <= 256
        && key.bytes().all(legal)
        && !value.is_empty()
        && value.len() <= 256
        && value.bytes().all(printable)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn fields(list: &[(&HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_valid_context_is_read_and_written_as_it_was() {
        let context = TraceContext::parse(VALID).unwrap();
        assert_eq!(context.traceparent(), VALID);
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(context.is_sampled());
    }

    #[test]
    fn only_what_the_specification_allows_is_a_context() {
        for (written, valid) in [
            (VALID.to_owned(), true),
            (VALID.replace("-01", "-00"), true),
            // A bit that is not known yet is not handed on.
            (VALID.replace("-01", "-ff"), true),
            (format!("cc{}", &VALID[2..]), true),
            (format!("cc{}-what-comes-later", &VALID[2..]), true),
            (format!("cc{}.what-comes-later", &VALID[2..]), false),
            (format!("ff{}", &VALID[2..]), false),
            (format!("{VALID}-more"), false),
            (format!("{VALID} "), false),
            (format!(" {VALID}"), false),
            (VALID.to_uppercase(), false),
            (VALID.replace('-', "_"), false),
            (VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)), false),
            (VALID.replace("00f067aa0ba902b7", &"0".repeat(16)), false),
            (VALID[..54].to_owned(), false),
            (VALID.replace("4bf9", "4bfé"), false),
            (VALID.replace("4bf92f", "+bf92f"), false),
            (String::new(), false),
            ("-".repeat(55), false),
        ] {
            assert_eq!(TraceContext::parse(&written).is_some(), valid, "{written:?}");
        }
        assert_eq!(TraceContext::parse(&VALID.replace("-01", "-ff")).unwrap().flags, SAMPLED | RANDOM);
    }

    #[test]
    fn a_request_goes_on_in_its_clients_trace() {
        let headers = fields(&[(&TRACEPARENT, VALID), (&TRACESTATE, "rojo=1 , "), (&TRACESTATE, "b@c=t61")]);
        let (parent, context) = (TraceContext::parse(VALID).unwrap(), TraceContext::of_request(&headers));
        assert_eq!(context.traceparent(), parent.traceparent());
        assert!(context.is_remote && !context.is_recorded());
        assert_eq!(context.tracestate(), Some("rojo=1,b@c=t61"));
    }

    #[test]
    fn without_a_valid_context_a_request_has_a_trace_of_its_own() {
        for list in [
            &[(&TRACESTATE, "a=1")][..],
            &[(&TRACEPARENT, "00-0-0-00"), (&TRACESTATE, "a=1")],
            &[(&TRACEPARENT, VALID), (&TRACEPARENT, VALID)],
        ] {
            let (one, other) =
                (TraceContext::of_request(&fields(list)), TraceContext::of_request(&fields(list)));
            assert_ne!(one.trace_id, other.trace_id);
            assert_eq!((one.tracestate(), one.is_sampled()), (None, false));
            assert!(TraceContext::parse(&one.traceparent()).is_some());
        }
    }

    #[test]
    fn what_is_not_known_yet_is_looked_for_and_what_is_known_stays() {
        let headers = fields(&[(&TRACEPARENT, VALID)]);
        let known = TraceContext::UNKNOWN.known(&headers);
        assert_eq!(known.traceparent(), VALID);
        assert_eq!(known.known(&HeaderMap::new()).traceparent(), VALID);
    }

    #[test]
    fn an_illegal_state_is_left_out_and_a_long_one_is_cut_between_members() {
        for illegal in ["a", "=1", "A=1", "a=", "a=1,b", "a=b=c", "é=1"] {
            let headers = HeaderValue::from_bytes(illegal.as_bytes()).unwrap();
            let headers = [(TRACEPARENT, HeaderValue::from_static(VALID)), (TRACESTATE, headers)];
            assert_eq!(TraceContext::of_request(&headers.into_iter().collect()).state, None, "{illegal}");
        }
        let long: Vec<String> = (0..40).map(|n| format!("k{n}=1")).collect();
        let headers = fields(&[(&TRACEPARENT, VALID), (&TRACESTATE, &long.join(","))]);
        let state = TraceContext::of_request(&headers).state.unwrap();
        assert_eq!(*state, long[..TRACESTATE_MEMBERS_MAX].join(","));
        let long: Vec<String> = (0..5).map(|n| format!("k{n}={}", "v".repeat(200))).collect();
        let headers = fields(&[(&TRACEPARENT, VALID), (&TRACESTATE, &long.join(","))]);
        assert_eq!(*TraceContext::of_request(&headers).state.unwrap(), long[..2].join(","));
    }
}

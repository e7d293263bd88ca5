//! What is recorded, by the spans that reach the exporter.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::mpsc::Receiver;

use super::tracer::Ended;
use super::*;
use crate::limits::{
    KIB, SPAN_ATTRIBUTES_MAX, SPAN_EVENTS_MAX, SPAN_GIVEN_BYTES_MAX, SPANS_WAITING_BYTES_MAX,
};

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The spans that have ended, with their services, in the order of their ends.
fn ended(spans: &mut Receiver<Ended>) -> Vec<(Arc<str>, SpanData)> {
    std::iter::from_fn(|| spans.try_recv().ok()).map(|ended| (ended.service, *ended.data)).collect()
}

#[test]
fn a_new_trace_is_recorded_by_its_ratio_and_a_clients_as_the_client_has_decided() {
    let recorded = |ratio: f64, context: &dyn Fn() -> TraceContext| {
        let (tracer, _spans) = Tracer::of_test(ratio, 1);
        (0..2_000).filter(|_| tracer.admit(context()).is_recorded()).count()
    };
    assert_eq!(recorded(0.0, &TraceContext::new), 0);
    assert_eq!(recorded(1.0, &TraceContext::new), 2_000);
    // Ten standard deviations to either side.
    assert!((300..500).contains(&recorded(0.2, &TraceContext::new)));
    let of_client = |flags: &str| TraceContext::parse(&SAMPLED.replace("-01", flags)).unwrap();
    assert_eq!(recorded(0.0, &|| of_client("-01")), 2_000);
    assert_eq!(recorded(1.0, &|| of_client("-00")), 0);
    let (tracer, _spans) = Tracer::of_test(1.0, 1);
    assert!(tracer.admit(TraceContext::new()).traceparent().ends_with("-03"), "sampled, and random");
}

#[test]
fn strangers_neither_force_nor_hide_a_recording() {
    let recorded = |ratio: f64, flags: &str| {
        let (tracer, _spans) = Tracer::of_test(ratio, 1);
        let tracer = tracer.wary();
        let admitted =
            (0..2_000).map(|_| tracer.admit(TraceContext::parse(&SAMPLED.replace("-01", flags)).unwrap()));
        let recorded: Vec<_> = admitted.filter(TraceContext::is_recorded).collect();
        // The trace goes on, and says to whoever comes after what was decided.
        assert!(recorded.iter().all(|context| context.traceparent()[3..35] == SAMPLED[3..35]));
        assert!(recorded.iter().all(TraceContext::is_sampled));
        recorded.len()
    };
    assert_eq!((recorded(0.0, "-01"), recorded(1.0, "-00")), (0, 2_000));
    // By chance, and not by the id, which is theirs: ten standard deviations to either side.
    assert!((300..500).contains(&recorded(0.2, "-01")));
    let (tracer, mut spans) = Tracer::of_test(0.0, 8);
    let tracer = tracer.wary();
    let refused = tracer.admit(TraceContext::parse(SAMPLED).unwrap());
    assert!(!refused.is_sampled() && !refused.is_recorded());
    // A message is no stranger's: its trace was decided on when the request came in.
    tracer.send(&"orders".into(), SAMPLED, "order-events").0.end();
    assert_eq!(ended(&mut spans).len(), 1);
}

#[test]
fn work_in_which_nothing_happens_leaves_no_trace() {
    let (tracer, mut spans) = Tracer::of_test(1.0, 64);
    let orders: Arc<str> = "orders".into();
    let turn = |happens: &dyn Fn(&TraceContext, &mut Span)| {
        let (mut turn, trace) = tracer.work(&orders, "background");
        let guest = trace.child(SpanKind::Internal, "guest");
        let within = guest.under(&trace);
        within.child(SpanKind::Client, "UPDATE").end_with(Recording::in_vain);
        happens(&within, &mut turn);
        guest.end();
        turn.end();
    };
    turn(&|_, _| {});
    assert!(ended(&mut spans).is_empty());

    let calls = |within: &TraceContext, _: &mut Span| {
        let users = within.of_service(&"users".into());
        users.child(SpanKind::Server, "GET").end();
    };
    turn(&calls);
    let kept = ended(&mut spans);
    let names: Vec<_> = kept.iter().map(|(service, span)| (&**service, &*span.name)).collect();
    let all = [("orders", "UPDATE"), ("users", "GET"), ("orders", "guest"), ("orders", "background")];
    assert_eq!(names, all);
    assert_eq!(kept[3].1.parent_span_id, opentelemetry::trace::SpanId::INVALID);
    assert!(kept.iter().all(|(_, span)| span.span_context.trace_id() == kept[3].1.span_context.trace_id()));

    turn(&|_, turn| turn.with(|turn| turn.fail("failed", "the turn failed")));
    assert_eq!(ended(&mut spans).len(), 3, "a failure is worth a trace");
    drop(tracer.work(&orders, "background"));
    assert_eq!(ended(&mut spans).len(), 1, "and so is a turn that was cut off");
}

#[test]
fn spans_that_wait_are_bounded_in_bytes() {
    let (tracer, mut spans) = Tracer::of_test(1.0, usize::MAX >> 4);
    let big = |span: &mut Recording| {
        let value = || "a".repeat(KIB);
        for number in 0..SPAN_EVENTS_MAX {
            let attributes = vec![opentelemetry::KeyValue::new("test.text", value()); 8];
            span.event("again".to_owned(), attributes, 0);
            span.set_given([opentelemetry::KeyValue::new(format!("test.{number}"), value())]);
        }
    };
    let count = 4 * SPANS_WAITING_BYTES_MAX / SPAN_GIVEN_BYTES_MAX;
    for _ in 0..count {
        let mut span = tracer.admit(TraceContext::new()).request(Instant::now());
        span.with(big);
        span.end();
    }
    let kept = ended(&mut spans);
    let dropped = usize::try_from(tracer.counters().dropped.load(Relaxed)).unwrap();
    assert_eq!(kept.len() + dropped, count);
    let bytes: usize = kept.iter().map(|(_, span)| size::of(span)).sum();
    assert!((SPANS_WAITING_BYTES_MAX / 2..=SPANS_WAITING_BYTES_MAX).contains(&bytes), "{bytes}");
    let (_, span) = &kept[0];
    assert!(size::of(span) < SPAN_GIVEN_BYTES_MAX + 2 * KIB, "{}", size::of(span));
    assert!(span.events.dropped_count > 0 && span.dropped_attributes_count > 0, "it says what it lacks");
}

#[test]
fn a_span_comes_under_the_one_that_it_began_in() {
    let (tracer, mut spans) = Tracer::of_test(1.0, 8);
    let trace = tracer.admit(TraceContext::parse(SAMPLED).unwrap()).of_service(&"users".into());
    let request = trace.request(Instant::now());
    let inner = request.under(&trace).child(SpanKind::Internal, "guest");
    inner.end();
    request.end();
    let [(inner_of, inner), (request_of, request)] = ended(&mut spans).try_into().expect("two spans");
    assert_eq!((&*inner_of, &*request_of), ("users", "users"));
    assert_eq!(request.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert!(request.parent_span_is_remote && !inner.parent_span_is_remote);
    assert_eq!(inner.parent_span_id, request.span_context.span_id());
    assert_eq!(inner.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(request.start_time <= inner.start_time && inner.end_time <= request.end_time);
}

#[test]
fn the_first_span_of_a_trace_has_no_parent() {
    let (tracer, mut spans) = Tracer::of_test(1.0, 8);
    let trace = tracer.admit(TraceContext::new());
    trace.request(Instant::now()).end();
    let [(service, span)] = ended(&mut spans).try_into().expect("a span");
    assert_eq!((&*service, span.parent_span_id), (HOST, opentelemetry::trace::SpanId::INVALID));
    assert_eq!(trace.traceparent()[36..52], span.span_context.span_id().to_string());
}

#[test]
fn a_trace_that_is_not_recorded_has_no_spans() {
    let mut span = TraceContext::new().child(SpanKind::Internal, "guest");
    span.with(|_| panic!("there is nothing to add to"));
    assert!(!span.is_recorded());
    span.end_with(|_| panic!("nor at its end"));
}

#[test]
fn what_is_dropped_before_its_end_was_cut_off() {
    let (tracer, mut spans) = Tracer::of_test(1.0, 8);
    drop(tracer.admit(TraceContext::new()).request(Instant::now()));
    let [(_, span)] = ended(&mut spans).try_into().expect("a span");
    assert!(matches!(span.status, Status::Error { .. }), "{:?}", span.status);
}

#[test]
fn a_full_queue_drops_spans_and_counts_them() {
    let (tracer, mut spans) = Tracer::of_test(1.0, 2);
    for _ in 0..5 {
        tracer.admit(TraceContext::new()).request(Instant::now()).end();
    }
    assert_eq!(ended(&mut spans).len(), 2);
    assert_eq!(tracer.counters().dropped.load(Relaxed), 3);
}

#[test]
fn a_span_has_so_many_attributes_and_events_and_says_what_it_lacks() {
    let (tracer, mut spans) = Tracer::of_test(1.0, 2);
    let mut span = tracer.admit(TraceContext::new()).request(Instant::now());
    span.with(|span| {
        for number in 0..SPAN_ATTRIBUTES_MAX + 5 {
            span.set_given([opentelemetry::KeyValue::new(format!("test.{number}"), 1)]);
        }
        span.set_given([opentelemetry::KeyValue::new("test.0", 2)]);
        (0..SPAN_EVENTS_MAX + 3).for_each(|_| span.event("again".to_owned(), Vec::new(), 0));
    });
    span.end();
    let [(_, span)] = ended(&mut spans).try_into().expect("a span");
    assert_eq!((span.attributes.len(), span.dropped_attributes_count), (SPAN_ATTRIBUTES_MAX, 5));
    assert_eq!(span.attributes[0].value, opentelemetry::Value::I64(2), "a name is overwritten");
    assert_eq!((span.events.len(), span.events.dropped_count), (SPAN_EVENTS_MAX, 3));
}

#[test]
fn a_message_stays_in_the_trace_of_who_wrote_it() {
    let (tracer, mut spans) = Tracer::of_test(0.0, 8);
    let orders: Arc<str> = "orders".into();
    let (sending, handed_on) = tracer.send(&orders, SAMPLED, "order-events");
    sending.end();
    let (processing, _) = tracer.process(&orders, &handed_on.traceparent(), "order-events");
    processing.end();
    let [(_, sent), (service, processed)] = ended(&mut spans).try_into().expect("two spans");
    assert_eq!(
        (&*service, &*sent.name, &*processed.name),
        ("orders", "send order-events", "process order-events")
    );
    assert_eq!((&sent.span_kind, &processed.span_kind), (&SpanKind::Producer, &SpanKind::Consumer));
    assert_eq!(sent.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(processed.parent_span_id, sent.span_context.span_id());
    for (span, linked) in [(&sent, SAMPLED), (&processed, &handed_on.traceparent())] {
        let link = &span.links.links[0].span_context;
        assert_eq!(linked[3..52], format!("{}-{}", link.trace_id(), link.span_id()));
    }

    // One whose request was not recorded is not either; nor, at this ratio, one of no trace.
    for traceparent in [&SAMPLED.replace("-01", "-00"), ""] {
        let (span, handed_on) = tracer.send(&orders, traceparent, "order-events");
        assert!(!span.is_recorded());
        assert!(TraceContext::parse(&handed_on.traceparent()).is_some());
    }
}

#[tokio::test]
async fn a_step_comes_under_the_span_that_its_task_is_in() {
    let (tracer, mut spans) = Tracer::of_test(1.0, 8);
    let trace = tracer.admit(TraceContext::new());
    let step = || async { child_of_current(SpanKind::Client, "step").end() };
    step().await;
    around(&trace, async {
        step().await;
        tokio::spawn(carried(step())).await.unwrap();
        tokio::spawn(step()).await.unwrap();
    })
    .await;
    let ended = ended(&mut spans);
    assert_eq!(ended.len(), 2, "in this task, and where it was carried to");
    for (_, span) in ended {
        assert_eq!(span.parent_span_id.to_string(), trace.traceparent()[36..52]);
    }
}

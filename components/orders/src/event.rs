//! What the service tells of its orders: a row in the outbox, in the same statement as the
//! change. The host sends it to whoever listens.

/// The part of a statement that tells of the orders in `$changed`, an earlier part of it
/// with the columns `id`, `user_id`, `status` and `event_seq`. `$traceparent` is the
/// parameter with the trace that the change belongs to, or null.
///
/// What an order's event says beyond that is the host's matter, but for its `event_seq`:
/// whoever changes an order counts it up by one.
macro_rules! told {
    ($kind:literal, $changed:literal, $traceparent:literal) => {
        concat!(
            "INSERT INTO outbox (topic, key, seq, type, subject, payload, traceparent)
             SELECT 'orders', id::text, event_seq, '",
            $kind,
            "', user_id::text, json_build_object('order_id', id, 'status', status)::jsonb, ",
            $traceparent,
            " FROM ",
            $changed
        )
    };
}

pub(crate) use told;

/// The trace that an event belongs to.
pub(crate) fn traceparent() -> Option<String> {
    None
}

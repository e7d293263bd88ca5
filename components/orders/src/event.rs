//! What the service tells of its orders: a row in the outbox, in the same statement as the
//! change. The host sends it to whoever listens.

/// The part of a statement that tells of the orders in `$changed`, an earlier part of it
/// with the columns `id`, `user_id`, `status` and `event_seq`, which whoever changes an
/// order counts up by one. `$traceparent` is the parameter with the trace that the change
/// belongs to; the rest is the host's to say.
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

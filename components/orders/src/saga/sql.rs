//! The statements of a saga. Each is a transaction, and takes the saga from one step to the
//! next or does nothing.
//!
//! Where a saga will have no order, its key goes in the statement that says so: whoever
//! repeats the request need not wait until all is undone.

use crate::event::told;

/// Begins a saga: gives the order its id and its time. $1 is the time in milliseconds until a
/// sweep may take the saga for one that was left behind.
pub const BEGIN: &str = "
    INSERT INTO order_sagas (order_id, step, due_at)
    VALUES (nextval('orders_id_seq'), 'reserving', clock_timestamp() + $1::int4 * interval '1 ms')
    RETURNING order_id, started_at";

/// The same for a request with a key: $1 is the caller, $2 the key, $3 the body, $4 the time. No
/// row when somebody else has claimed the key.
pub(super) const BEGIN_ONCE: &str = "
    WITH next AS (
        SELECT nextval('orders_id_seq')::int4 AS id
    ), claimed AS (
        INSERT INTO idempotency_keys (caller, key, digest, order_id) SELECT $1, $2, sha256($3), id FROM next
        ON CONFLICT (caller, key) DO UPDATE
        SET digest = excluded.digest, order_id = excluded.order_id, answer = NULL, claimed_at = excluded.claimed_at
        WHERE idempotency_keys.claimed_at <= now() - interval '24 hours'
        RETURNING order_id, caller, key
    )
    INSERT INTO order_sagas (order_id, step, caller, key, due_at)
    SELECT order_id, 'reserving', caller, key, clock_timestamp() + $4::int4 * interval '1 ms' FROM claimed
    RETURNING order_id, started_at";

/// Writes the order, its lines if there are several, the beginning of its history, the event
/// that tells of it and the answer to whoever repeats the request. No row, and nothing
/// written, when a sweep has taken the saga over.
pub const WRITE: &str = concat!(
    "WITH reserved AS (
         UPDATE order_sagas SET step = 'confirming', due_at = clock_timestamp() + $12::int4 * interval '1 ms'
         WHERE order_id = $1 AND step = 'reserving'
         RETURNING order_id, caller, key
     ), made AS (
         INSERT INTO orders (id, user_id, product_id, quantity, total_price, created_at)
         SELECT order_id, $2, $3, $4, $5, $6 FROM reserved
         RETURNING id, user_id, status, event_seq, created_at
     ), listed AS (
         INSERT INTO order_items (order_id, line, product_id, quantity)
         SELECT id, line, product, pieces
         FROM made, unnest($7::int4[], $8::int4[]) WITH ORDINALITY AS item (product, pieces, line)
     ), noted AS (
         INSERT INTO order_history (order_id, status, changed_by, changed_at)
         SELECT id, status, $9, created_at AT TIME ZONE 'UTC' FROM made
     ), answered AS (
         UPDATE idempotency_keys AS claim SET answer = $10 FROM reserved
         WHERE claim.caller = reserved.caller AND claim.key = reserved.key AND claim.order_id = reserved.order_id
     ), told AS (",
    told!("order.created", "made", "$11::text"),
    ") SELECT id FROM made"
);

/// Ends a saga whose order is written and whose stock is confirmed.
pub const END: &str = "DELETE FROM order_sagas WHERE order_id = $1 AND step = 'confirming'";

/// Ends a saga for which products has refused the stock, so that nothing is to be undone.
pub(super) const REFUSED: &str = "
    WITH ended AS (
        DELETE FROM order_sagas WHERE order_id = $1 AND step = 'reserving' RETURNING order_id, caller, key
    )
    DELETE FROM idempotency_keys AS claim USING ended
    WHERE claim.caller = ended.caller AND claim.key = ended.key AND claim.order_id = ended.order_id";

/// Leaves it to the next sweep to undo a saga; one that has gone on is left alone.
pub(super) const GIVE_UP: &str = "
    WITH given_up AS (
        UPDATE order_sagas SET step = 'undoing', due_at = clock_timestamp()
        WHERE order_id = $1 AND step = 'reserving' RETURNING order_id, caller, key
    )
    DELETE FROM idempotency_keys AS claim USING given_up
    WHERE claim.caller = given_up.caller AND claim.key = given_up.key AND claim.order_id = given_up.order_id";

/// Ends a saga whose cancelled order has given its stock back.
pub(super) const RETURNED: &str = "DELETE FROM order_sagas WHERE order_id = $1 AND step = 'returning'";

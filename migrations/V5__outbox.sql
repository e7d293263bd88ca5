-- The outbox: what services tell the world, written in the transaction of the change that
-- it tells of. The host moves the rows to a Redis stream, and deletes them when they are
-- there.
CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    -- The stream.
    topic TEXT NOT NULL,
    -- What the event is about, as an order's id. The ids of one key's rows must come in the
    -- order of their commits: their writer locks something that belongs to the key first.
    key TEXT NOT NULL,
    -- The place among the key's events: 1, 2, 3, without a gap.
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    -- The subject of the only caller who may see it, admins aside; null for those alone.
    subject TEXT,
    -- The members of the event that are the service's own: an object.
    payload JSONB NOT NULL,
    -- Of the request that made the change (W3C Trace Context), where it is known.
    traceparent TEXT,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    -- The host reads a topic in the order of the ids, which is that of the commits only
    -- within a key: what commits late is moved late.
    PRIMARY KEY (topic, id),
    CONSTRAINT outbox_names_check CHECK (
        length(topic) BETWEEN 1 AND 64 AND length(type) BETWEEN 1 AND 64
        AND length(key) BETWEEN 1 AND 64 AND length(subject) <= 64 AND length(traceparent) <= 64
    ),
    -- Server-sent events have it on a line of its own, as it is.
    CONSTRAINT outbox_type_check CHECK (type ~ '^[a-z0-9._-]+$'),
    CONSTRAINT outbox_seq_check CHECK (seq > 0),
    -- A subscriber's queue holds 256 events, in a MiB. As text, which is what is told: 1e131071
    -- is 16 bytes as the table has it, and 131 KB as a subscriber reads it.
    CONSTRAINT outbox_payload_check
        CHECK (jsonb_typeof(payload) = 'object' AND octet_length(payload::text) <= 4096),
    -- These are the host's to write.
    CONSTRAINT outbox_members_check
        CHECK (NOT payload ?| ARRAY['id', 'type', 'seq', 'occurred_at', 'traceparent'])
) WITH (
    -- Nearly every row is a dead one, and the next look for new rows steps over them all.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 2000
);

-- One row for each topic: how far its stream is filled, as this database knows. A Redis
-- that has lost what it had is found out by it.
CREATE TABLE outbox_streams (
    topic TEXT PRIMARY KEY,
    -- Counted up by each host that becomes the one to fill the stream. Redis turns away
    -- whoever comes with an older number.
    fence BIGINT NOT NULL DEFAULT 0,
    -- The id of the newest event whose row is gone from the outbox.
    position TEXT NOT NULL DEFAULT '0-0'
);

-- How many events an order has had. Counted in the order's own row, whose lock also puts
-- the events of one order in a row.
ALTER TABLE orders ADD COLUMN event_seq INTEGER NOT NULL DEFAULT 1;
UPDATE orders SET event_seq = steps.count
FROM (SELECT order_id, count(*) AS count FROM order_history GROUP BY order_id) AS steps
WHERE orders.id = steps.order_id AND steps.count > 1;

-- A service puts in, of its own topic, and neither looks nor takes back.
GRANT INSERT ON outbox TO orders_service;
ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
CREATE POLICY outbox_orders ON outbox FOR INSERT TO orders_service WITH CHECK (topic = 'orders');

-- Making an order as a saga over two services, orders of several lines, and requests
-- that may be repeated.

-- A one-line order has its line in `orders`, as before. One of several lines has none
-- there, and all of them here.
ALTER TABLE orders
    ALTER COLUMN product_id DROP NOT NULL,
    ALTER COLUMN quantity DROP NOT NULL,
    ADD CONSTRAINT orders_line_check CHECK ((product_id IS NULL) = (quantity IS NULL));

CREATE TABLE order_items (
    order_id INTEGER NOT NULL,
    -- Counted from 1, in the order that the client gave.
    line SMALLINT NOT NULL,
    product_id INTEGER NOT NULL,
    quantity INTEGER NOT NULL,
    PRIMARY KEY (order_id, line),
    CONSTRAINT order_items_product_key UNIQUE (order_id, product_id),
    CONSTRAINT order_items_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE,
    CONSTRAINT order_items_product_id_fkey FOREIGN KEY (product_id) REFERENCES products (id),
    CONSTRAINT order_items_quantity_check CHECK (quantity > 0)
);

-- Spares a scan of all lines when a product goes.
CREATE INDEX order_items_product_id_idx ON order_items (product_id);

-- The lines of all orders, wherever they stand.
CREATE VIEW order_lines AS
    SELECT id AS order_id, product_id, quantity FROM orders WHERE product_id IS NOT NULL
    UNION ALL
    SELECT order_id, product_id, quantity FROM order_items;

-- What has begun and has not ended. An order's stock is with the products service, which
-- shares no transaction with this one: the row is here before that service is asked for
-- anything, and goes when both sides agree. It is there for as long as there is something
-- left to do, so the table is nearly empty.
--
-- The order's id is taken from its sequence when the saga begins, so there may be no order
-- of that id yet, or ever.
CREATE TABLE order_sagas (
    order_id INTEGER PRIMARY KEY,
    -- reserving:  products is being asked for the stock; the order is not written.
    -- confirming: the order is written, and products does not yet know.
    -- undoing:    there will be no order, and products does not yet know.
    -- returning:  the order is cancelled, and products does not yet know.
    step VARCHAR(10) NOT NULL,
    -- Whose request it was and under which key, if it may be repeated.
    caller TEXT,
    key TEXT,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    -- When the sweep may take it: whoever began it has had their time until then.
    due_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    -- Times that the sweep could not end it, and why the last time.
    attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    -- Since then it waits for an operator.
    parked_at TIMESTAMP WITH TIME ZONE,
    -- The highest fencing token that has touched it.
    fence BIGINT NOT NULL DEFAULT 0,
    CONSTRAINT order_sagas_step_check CHECK (step IN ('reserving', 'confirming', 'undoing', 'returning'))
);

CREATE INDEX order_sagas_due_at_idx ON order_sagas (due_at) WHERE parked_at IS NULL;

-- The debts of cancelled orders are sagas too.
INSERT INTO order_sagas (order_id, step, started_at) SELECT order_id, 'returning', owed_since FROM stock_returns;
DROP TABLE stock_returns;

-- Requests that may be repeated (draft-ietf-httpapi-idempotency-key-header). A row is
-- claimed with the saga's beginning and gets its answer with the order; it goes when it is
-- clear that there will be no order, or after a day.
CREATE TABLE idempotency_keys (
    -- The verified caller's subject; empty for all those who have not logged in.
    caller TEXT NOT NULL,
    key TEXT NOT NULL,
    -- SHA-256 of the request's body.
    digest BYTEA NOT NULL,
    order_id INTEGER NOT NULL,
    -- The body of the 201; none while the saga has not come so far.
    answer TEXT,
    claimed_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (caller, key),
    CONSTRAINT idempotency_keys_key_check CHECK (length(key) BETWEEN 1 AND 255)
);

CREATE INDEX idempotency_keys_claimed_at_idx ON idempotency_keys (claimed_at);

-- The stock that an order holds, of the products service: one row for each order that has
-- asked for any. A release that comes before its reserve leaves the row that refuses it.
CREATE TABLE reservations (
    order_id INTEGER PRIMARY KEY,
    -- held: taken from the stock; confirmed: sold; released: back, or never taken.
    state VARCHAR(10) NOT NULL,
    CONSTRAINT reservations_state_check CHECK (state IN ('held', 'confirmed', 'released'))
);

-- Until now an order that had taken stock was an order that was made.
INSERT INTO reservations (order_id, state)
SELECT order_id, CASE WHEN bool_or(kind = 'release') THEN 'released' ELSE 'confirmed' END
FROM stock_movements GROUP BY order_id;

-- The ledger's other half: what somebody has put on stock or taken away by setting its figure.
CREATE TABLE stock_adjustments (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product_id INTEGER NOT NULL,
    -- More, or with a minus fewer, than there were.
    quantity INTEGER NOT NULL,
    adjusted_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT stock_adjustments_product_id_fkey FOREIGN KEY (product_id) REFERENCES products (id),
    CONSTRAINT stock_adjustments_quantity_check CHECK (quantity <> 0)
);

CREATE INDEX stock_adjustments_product_id_idx ON stock_adjustments (product_id);

-- Where every piece of a product is: on stock, reserved for an order that is being made, or
-- sold. No reservation, sale or cancellation changes the sum of the three, and whoever sets
-- the stock changes it by what they have adjusted.
CREATE VIEW product_stock AS
    SELECT products.id AS product_id, stock, COALESCE(reserved, 0) AS reserved, COALESCE(sold, 0) AS sold,
           COALESCE((SELECT sum(quantity) FROM stock_adjustments WHERE product_id = products.id), 0) AS adjusted
    FROM products LEFT JOIN (
        SELECT product_id,
               sum(quantity) FILTER (WHERE state = 'held') AS reserved,
               sum(quantity) FILTER (WHERE state = 'confirmed') AS sold
        FROM stock_movements JOIN reservations USING (order_id)
        WHERE kind = 'reserve' GROUP BY product_id
    ) AS taken ON product_id = products.id;

GRANT SELECT, INSERT ON order_items TO orders_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON order_sagas, idempotency_keys TO orders_service;
GRANT SELECT, INSERT, UPDATE ON reservations TO products_service;
GRANT INSERT ON stock_adjustments TO products_service;

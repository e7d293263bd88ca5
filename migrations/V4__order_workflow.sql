-- The workflow of an order: its states, its history, and stock that goes back.

ALTER TABLE orders
    DROP CONSTRAINT orders_status_check,
    ADD CONSTRAINT orders_status_check
        CHECK (status IN ('pending', 'processing', 'shipped', 'delivered', 'cancelled'));

-- One row for each state that an order has come to, written in the transaction that
-- brought it there.
CREATE TABLE order_history (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id INTEGER NOT NULL,
    status VARCHAR(20) NOT NULL,
    -- The verified caller's subject. Without login there is none.
    changed_by TEXT,
    -- The clock, and not the transaction's start: of two changes that waited for each
    -- other the second is later.
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT order_history_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE
);

CREATE INDEX order_history_order_id_idx ON order_history (order_id, id);

-- Every order began as pending, when it was made. When it came to where it is now is
-- not known; this is when it was first seen there.
INSERT INTO order_history (order_id, status, changed_at)
SELECT id, 'pending', created_at AT TIME ZONE 'UTC' FROM orders ORDER BY id;
INSERT INTO order_history (order_id, status)
SELECT id, status FROM orders WHERE status <> 'pending' ORDER BY id;

-- Cancelled orders whose stock the products service has not yet taken back. The row is
-- written with the cancellation and goes when that service has confirmed.
CREATE TABLE stock_returns (
    order_id INTEGER PRIMARY KEY,
    owed_since TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT stock_returns_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE
);

-- The ledger of the products service: what an order took, and that it went back. The key
-- makes each happen once, however often it is asked for. The order belongs to another
-- service, so nothing refers to it.
CREATE TABLE stock_movements (
    order_id INTEGER NOT NULL,
    product_id INTEGER NOT NULL,
    kind VARCHAR(10) NOT NULL,
    quantity INTEGER NOT NULL,
    moved_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (order_id, kind, product_id),
    CONSTRAINT stock_movements_product_id_fkey FOREIGN KEY (product_id) REFERENCES products (id),
    CONSTRAINT stock_movements_kind_check CHECK (kind IN ('reserve', 'release')),
    CONSTRAINT stock_movements_quantity_check CHECK (quantity > 0)
);

-- History and ledger are only ever added to.
GRANT SELECT, INSERT ON order_history TO orders_service;
GRANT SELECT, INSERT, DELETE ON stock_returns TO orders_service;
GRANT SELECT, INSERT ON stock_movements TO products_service;

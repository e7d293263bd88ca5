-- The shop: the lab's three tables, with their rules, their indexes, and a role
-- for each service. Runs in one transaction, as the owner of the database.

CREATE TABLE users (
    id SERIAL PRIMARY KEY,
    username VARCHAR(50) NOT NULL,
    email VARCHAR(100) NOT NULL,
    -- Without the cast a server in another time zone would write its local time
    -- into a column that is read as UTC.
    created_at TIMESTAMP NOT NULL DEFAULT (CURRENT_TIMESTAMP AT TIME ZONE 'UTC'),
    CONSTRAINT users_username_key UNIQUE (username),
    CONSTRAINT users_email_key UNIQUE (email)
);

CREATE TABLE products (
    id SERIAL PRIMARY KEY,
    name VARCHAR(100) NOT NULL,
    description TEXT,
    price DECIMAL(10,2) NOT NULL,
    stock INTEGER NOT NULL DEFAULT 0,
    category VARCHAR(50),
    created_at TIMESTAMP NOT NULL DEFAULT (CURRENT_TIMESTAMP AT TIME ZONE 'UTC'),
    -- NaN is a numeric, and greater than any other.
    CONSTRAINT products_price_check CHECK (price >= 0 AND price < 'NaN'),
    CONSTRAINT products_stock_check CHECK (stock >= 0)
);

-- Serves `?category=` of any case, in the list's own order.
CREATE INDEX products_category_idx ON products (lower(category), id);

CREATE TABLE orders (
    id SERIAL PRIMARY KEY,
    user_id INTEGER NOT NULL,
    product_id INTEGER NOT NULL,
    quantity INTEGER NOT NULL,
    total_price DECIMAL(10,2) NOT NULL,
    status VARCHAR(20) NOT NULL DEFAULT 'pending',
    created_at TIMESTAMP NOT NULL DEFAULT (CURRENT_TIMESTAMP AT TIME ZONE 'UTC'),
    CONSTRAINT orders_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id),
    CONSTRAINT orders_product_id_fkey FOREIGN KEY (product_id) REFERENCES products (id),
    CONSTRAINT orders_quantity_check CHECK (quantity > 0),
    CONSTRAINT orders_total_price_check CHECK (total_price >= 0 AND total_price < 'NaN'),
    CONSTRAINT orders_status_check CHECK (status IN ('pending', 'processing', 'shipped', 'delivered'))
);

-- The first two also spare a scan of all orders when a user or a product goes.
CREATE INDEX orders_user_id_idx ON orders (user_id);
CREATE INDEX orders_product_id_idx ON orders (product_id);
CREATE INDEX orders_status_idx ON orders (status);

-- Roles belong to the whole server, so another database may have made them
-- already. They cannot log in until the host has given them a password.
DO $$
DECLARE
    service text;
BEGIN
    FOREACH service IN ARRAY ARRAY['users_service', 'products_service', 'orders_service'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = service) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', service);
            EXCEPTION
                -- Made by another database's migration in this very moment.
                WHEN duplicate_object OR unique_violation THEN NULL;
            END;
        END IF;
    END LOOP;
END
$$;

-- A service reaches its own table and nothing else. Foreign keys are checked with
-- the rights of the table's owner, so orders_service needs none on the other two.
GRANT SELECT, INSERT, UPDATE ON users TO users_service;
GRANT USAGE ON SEQUENCE users_id_seq TO users_service;

GRANT SELECT, INSERT, UPDATE ON products TO products_service;
GRANT USAGE ON SEQUENCE products_id_seq TO products_service;

GRANT SELECT, INSERT, UPDATE ON orders TO orders_service;
GRANT USAGE ON SEQUENCE orders_id_seq TO orders_service;

-- The lab's sample data: four users with a password each, ten products, eight orders. A database in
-- which any of the three tables holds a row is left as it is, so this may run on
-- every start, and from several hosts at once.
--
-- One statement is one transaction: all of it happens, or nothing.
DO $$
BEGIN
    -- The first look spares every later start the locks. They keep a second host,
    -- and a service that is serving, from writing between the second look and the
    -- inserts. Readers go on.
    IF EXISTS (SELECT FROM users) OR EXISTS (SELECT FROM products) OR EXISTS (SELECT FROM orders) THEN
        RETURN;
    END IF;
    LOCK TABLE users, products, orders IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM users) OR EXISTS (SELECT FROM products) OR EXISTS (SELECT FROM orders) THEN
        RETURN;
    END IF;

    INSERT INTO users (id, username, email) VALUES
        (1, 'alice', 'alice@example.com'),
        (2, 'bob', 'bob@example.com'),
        (3, 'charlie', 'charlie@example.com'),
        (4, 'diana', 'diana@example.com');

    -- Each one's password is their name followed by "-password": alice-password and so on.
    -- Diana keeps the shop.
    INSERT INTO accounts (user_id, password_hash, role) VALUES
        (1, '$argon2id$v=19$m=19456,t=2,p=1$OWFhZmY1Y2VkMjFmMmFmMg$bz75lPqE13GgWEDkrhWVs3bJV5CGGPNuJoSkgRxjStM', 'customer'),
        (2, '$argon2id$v=19$m=19456,t=2,p=1$ZTRhMDIxMmQ1ZWI2OWM4ZA$bauUOV+mjr6RMeYcwatH7Ui0/COA9jasMdh2GkxopU8', 'customer'),
        (3, '$argon2id$v=19$m=19456,t=2,p=1$OTZiZTBmYjdkMjNlODNlMw$eA3x9qdBshRDiQgKVBBFg3jsbj+eA1WOc3pq13Jqx04', 'customer'),
        (4, '$argon2id$v=19$m=19456,t=2,p=1$OWZhNTUyZjcxMzdlNTlmMg$hPNn99r2HaqjsArQkKC2AxdgFeqoxZIQLkz/iCmzjv8', 'admin');

    INSERT INTO products (id, name, description, price, stock, category) VALUES
        (1, 'Laptop', '14-inch laptop with 16 GB of memory', 1299.99, 50, 'Electronics'),
        (2, 'Smartphone', 'Phone with a 6.1-inch display and two cameras', 999.00, 100, 'Electronics'),
        (3, 'Headphones', 'Wireless headphones that cancel noise', 199.99, 150, 'Electronics'),
        (4, 'Mechanical Keyboard', 'Tenkeyless keyboard with brown switches', 89.50, 80, 'Electronics'),
        (5, 'Coffee Maker', 'Drip coffee maker for ten cups', 79.99, 40, 'Home & Kitchen'),
        (6, 'Chef''s Knife', 'Forged steel, 20 cm blade', 54.95, 60, 'Home & Kitchen'),
        (7, 'Desk Lamp', 'LED lamp with an adjustable arm', 34.99, 120, 'Home & Kitchen'),
        (8, 'Running Shoes', 'Light shoes for the road', 119.00, 75, 'Sports'),
        (9, 'Yoga Mat', 'Non-slip mat, 6 mm thick', 29.99, 200, 'Sports'),
        (10, 'Field Notes', 'Three pocket notebooks with dotted pages', 12.95, 300, 'Books');

    INSERT INTO orders (id, user_id, product_id, quantity, total_price, status)
    SELECT sample.id, sample.user_id, products.id, sample.quantity, products.price * sample.quantity, sample.status
    FROM (VALUES
        (1, 1, 1, 1, 'processing'),
        (2, 1, 3, 2, 'delivered'),
        (3, 2, 2, 1, 'shipped'),
        (4, 2, 5, 1, 'pending'),
        (5, 3, 8, 1, 'delivered'),
        (6, 3, 9, 2, 'pending'),
        (7, 4, 4, 1, 'shipped'),
        (8, 4, 10, 3, 'processing')
    ) AS sample (id, user_id, product_id, quantity, status)
    JOIN products ON products.id = sample.product_id
    ORDER BY sample.id;

    -- Each order has come all the way to where it is, and holds the stock that it took:
    -- what the products have above is what is left.
    INSERT INTO order_history (order_id, status, changed_at)
    SELECT orders.id, step.status, orders.created_at AT TIME ZONE 'UTC'
    FROM orders
    JOIN unnest(ARRAY['pending', 'processing', 'shipped', 'delivered']) WITH ORDINALITY AS step (status, place)
        ON step.place <= array_position(ARRAY['pending', 'processing', 'shipped', 'delivered'], orders.status::text)
    ORDER BY orders.id, step.place;
    UPDATE orders SET event_seq = (SELECT count(*) FROM order_history WHERE order_id = orders.id);
    INSERT INTO stock_movements (order_id, product_id, kind, quantity)
    SELECT id, product_id, 'reserve', quantity FROM orders;
    INSERT INTO reservations (order_id, state) SELECT id, 'confirmed' FROM orders;

    -- The ids above were given by hand; the next ones follow them.
    PERFORM setval('users_id_seq', (SELECT max(id) FROM users));
    PERFORM setval('products_id_seq', (SELECT max(id) FROM products));
    PERFORM setval('orders_id_seq', (SELECT max(id) FROM orders));
END
$$;

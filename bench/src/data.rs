//! What the database holds while it is measured.

use wasmyard::testing::servers::TestPostgres;

/// Rows of users and of products.
pub(crate) const ITEMS: u32 = 10_000;
/// Rows of orders: each is read once as a miss, so they bound such a run.
pub(crate) const ORDERS: u32 = 50_000;

/// Fills the shop's tables, which the host has made.
pub(crate) fn load(postgres: &TestPostgres, database: &str) {
    postgres.psql(
        database,
        &format!(
            "INSERT INTO users (username, email)
             SELECT 'user' || n, 'user' || n || '@example.com' FROM generate_series(1, {ITEMS}) n;
             INSERT INTO products (name, description, price, stock, category)
             SELECT 'Product ' || n, 'What there is to say about product ' || n, (n % 1000) + 0.99, 1000,
                    (ARRAY['Electronics', 'Home & Kitchen', 'Sports', 'Books'])[n % 4 + 1]
             FROM generate_series(1, {ITEMS}) n;
             INSERT INTO orders (user_id, product_id, quantity, total_price)
             SELECT n % {ITEMS} + 1, n * 7 % {ITEMS} + 1, 2, 19.98 FROM generate_series(1, {ORDERS}) n"
        ),
    );
    // Each is a statement of its own: none of them may run in a transaction.
    for table in ["users", "products", "orders"] {
        postgres.psql(database, &format!("VACUUM ANALYZE {table}"));
    }
}

//! Against a real Postgres: values, errors, and what must never reach the next
//! borrower of a connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::limits::{POSTGRES_POOL_MAX, POSTGRES_ROWS_MAX, POSTGRES_STATEMENTS_KEPT};
use crate::manifest::PostgresGrant;
use crate::testing::servers::TestPostgres;

const SECRET: &[u8] = b"a secret of the tests";

/// A database of its own with one role, which owns the schema `public` in it.
async fn pool(server: &TestPostgres) -> (PostgresPool, String) {
    let url = server.database();
    let role = format!("role_{}", url.rsplit('_').next().expect("a number"));
    let roles = [(role.clone(), role_password(SECRET, &role))];
    prepare_database(&url, None, &roles, None).await.expect("prepared");
    let database = url.rsplit('/').next().expect("a database").to_owned();
    server.psql(&database, &format!("ALTER SCHEMA public OWNER TO {role}"));
    (open(&url, &role, 2, Duration::from_secs(3)), url)
}

fn open(url: &str, role: &str, pool_max: usize, statement_timeout: Duration) -> PostgresPool {
    let grant = PostgresGrant { role: role.to_owned(), pool_max, statement_timeout };
    PostgresPool::new("test", url, &role_password(SECRET, role), &grant).expect("a pool")
}

fn role_of(url: &str) -> String {
    format!("role_{}", url.rsplit('_').next().expect("a number"))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// The schema is not a guest's matter, so tests make their tables as the owner.
fn create(server: &TestPostgres, url: &str, sql: &str) {
    let database = url.rsplit('/').next().expect("a database");
    server.psql(database, &format!("SET ROLE {}; {sql}", role_of(url)));
}

async fn one(pool: &PostgresPool, sql: &str, params: &[Value]) -> Value {
    let rows = pool.query(sql, params, soon()).await.expect(sql).rows;
    rows.into_iter().next().and_then(|row| row.into_iter().next()).expect("a value")
}

fn code(error: &Error) -> &str {
    match error {
        Error::Database(error) => &error.code,
        other => panic!("not the database's error: {other:?}"),
    }
}

/// Waits for a state that another process brings about.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let give_up = soon();
    while !holds().await {
        assert!(Instant::now() < give_up, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn idle_backends(server: &TestPostgres, url: &str, filter: &str) -> usize {
    let role = role_of(url);
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}' AND {filter}");
    server.psql("postgres", &sql).parse().expect("a count")
}

#[tokio::test]
async fn every_value_comes_back_as_it_went() {
    let (pool, _) = pool(TestPostgres::shared()).await;
    let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8".to_owned();
    let cases = [
        ("boolean", Value::Boolean(true)),
        ("smallint", Value::Int16(i16::MIN)),
        ("integer", Value::Int32(i32::MIN)),
        ("bigint", Value::Int64(i64::MAX)),
        ("real", Value::Float32(1.5e-3)),
        ("double precision", Value::Float64(0.1)),
        ("double precision", Value::Float64(f64::NEG_INFINITY)),
        ("numeric", Value::Numeric("999.00".into())),
        ("numeric", Value::Numeric("-0.0000012345678901234567890".into())),
        ("numeric", Value::Numeric("123456789012345678901234567890".into())),
        ("numeric", Value::Numeric("10000".into())),
        ("numeric", Value::Numeric("NaN".into())),
        ("numeric", Value::Numeric("-Infinity".into())),
        ("text", Value::Text("größe, \u{1f600}, ' and \"".into())),
        ("varchar", Value::Text(String::new())),
        ("name", Value::Text("a_name".into())),
        ("bytea", Value::Bytes(vec![0, 1, 255])),
        ("uuid", Value::Uuid(uuid.clone())),
        ("timestamptz", Value::Timestamp(1_700_000_000_123_456)),
        ("timestamptz", Value::Timestamp(-1)),
        ("timestamp", Value::Timestamp(0)),
        ("date", Value::Date(19_000)),
        ("date", Value::Date(-1)),
        ("json", Value::Json(r#"{"a":  [1, null]}"#.into())),
        ("jsonb", Value::Json(r#"{"a": [1, null]}"#.into())),
        ("boolean[]", Value::BooleanArray(vec![Some(true), None])),
        ("integer[]", Value::Int32Array(vec![Some(1), None, Some(-3)])),
        ("integer[]", Value::Int32Array(vec![])),
        ("bigint[]", Value::Int64Array(vec![Some(i64::MIN)])),
        ("double precision[]", Value::Float64Array(vec![Some(0.5), None])),
        ("text[]", Value::TextArray(vec![Some("a,b".into()), None, Some(String::new())])),
        ("uuid[]", Value::UuidArray(vec![Some(uuid), None])),
    ];
    for (ty, value) in &cases {
        let back = one(&pool, &format!("SELECT $1::{ty}"), std::slice::from_ref(value)).await;
        assert_eq!(format!("{back:?}"), format!("{value:?}"), "{ty}");
        let null = one(&pool, &format!("SELECT $1::{ty}"), &[Value::Null]).await;
        assert!(matches!(null, Value::Null), "{ty}");
    }
}

#[tokio::test]
async fn values_mean_what_postgres_means() {
    let server = TestPostgres::shared();
    let (pool, url) = pool(server).await;
    create(server, &url, "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN cents AS numeric(10,2)");
    let same = [
        ("$1 = timestamptz '2023-11-14 22:13:20.123456Z'", Value::Timestamp(1_700_000_000_123_456)),
        ("$1 = timestamp '1970-01-01 00:00:01'", Value::Timestamp(1_000_000)),
        ("$1 = timestamptz '1970-01-02Z'", Value::Date(1)),
        ("$1 = date '2000-02-29'", Value::Date(11_016)),
        ("$1 = 'glad'::mood", Value::Text("glad".into())),
        ("$1::cents = 12.30", Value::Numeric("12.3".into())),
        ("$1::numeric = 5", Value::Int16(5)),
        ("$1::int = 5", Value::Numeric("5.00".into())),
        ("$1::bigint = 5", Value::Int32(5)),
        ("$1::smallint = 5", Value::Int64(5)),
        ("$1::float8 = 5", Value::Int32(5)),
        ("$1::int8 = 5", Value::Float64(5.0)),
        ("$1::interval = '2 hours'", Value::Text("120 min".into())),
        ("$1::jsonb ->> 'a' = 'b'", Value::Json(r#"{"a":"b"}"#.into())),
        ("$1::int2[] = '{1,2}'", Value::Int32Array(vec![Some(1), Some(2)])),
        ("$1::mood[] = '{sad}'", Value::TextArray(vec![Some("sad".into())])),
        ("5 = ANY($1::bigint[])", Value::Int32Array(vec![Some(5)])),
    ];
    for (condition, value) in same {
        let held = one(&pool, &format!("SELECT {condition}"), &[value]).await;
        assert!(matches!(held, Value::Boolean(true)), "{condition}");
    }
    let read = [
        ("'glad'::mood", "Value::Text(\"glad\")"),
        ("12.3::cents", "Value::Numeric(\"12.30\")"),
        ("ARRAY['sad']::mood[]", "Value::TextArray([Some(\"sad\")])"),
        ("ARRAY[1,2]::smallint[]", "Value::Int32Array([Some(1), Some(2)])"),
        ("26::oid", "Value::Int64(26)"),
        ("pg_sleep(0)", "Value::Null"),
        ("'a'::char(3)", "Value::Text(\"a  \")"),
    ];
    for (sql, expected) in read {
        let value = one(&pool, &format!("SELECT {sql}"), &[]).await;
        assert_eq!(format!("{value:?}"), expected, "{sql}");
    }
    for sql in
        ["'1 day'::interval", "'infinity'::timestamptz", "'{{1},{2}}'::int[]", "ARRAY[1.5]", "'a'::\"char\""]
    {
        let error = pool.query(&format!("SELECT {sql} AS c"), &[], soon()).await.expect_err(sql);
        assert!(matches!(&error, Error::UnsupportedType((column, _)) if column == "c"), "{sql}: {error:?}");
    }
}

#[tokio::test]
async fn errors_carry_what_a_guest_needs() {
    let server = TestPostgres::shared();
    let (pool, url) = pool(server).await;
    create(
        server,
        &url,
        "CREATE TABLE users (id serial PRIMARY KEY, name text CONSTRAINT users_name_key UNIQUE NOT NULL)",
    );
    let insert = "INSERT INTO users (name) VALUES ($1)";
    assert_eq!(pool.execute(insert, &[Value::Text("alice".into())], soon()).await.expect("one row"), 1);
    let taken = pool.execute(insert, &[Value::Text("alice".into())], soon()).await.expect_err("taken");
    let Error::Database(taken) = taken else { panic!("{taken:?}") };
    assert_eq!(taken.code, "23505");
    assert_eq!(taken.constraint.as_deref(), Some("users_name_key"));
    assert_eq!(taken.table.as_deref(), Some("users"));
    assert!(taken.detail.is_some_and(|detail| detail.contains("alice")));

    let missing = pool.execute(insert, &[Value::Null], soon()).await.expect_err("not null");
    assert!(matches!(missing, Error::Database(error) if error.column.as_deref() == Some("name")));
    let bad = pool.execute(insert, &[Value::Int32(1)], soon()).await.expect_err("not text");
    assert!(matches!(bad, Error::BadParameter((1, _))), "{bad:?}");
    let refused = pool.execute("BEGIN", &[], soon()).await.expect_err("not a guest's");
    assert_eq!(code(&refused), "0A000");
    let several = pool.query("SELECT 1; SELECT 2", &[], soon()).await.expect_err("one at a time");
    assert_eq!(code(&several), "42601");
    let other = pool.query("SELECT * FROM pg_authid", &[], soon()).await.expect_err("not its own");
    assert_eq!(code(&other), "42501");
}

#[tokio::test]
async fn answers_are_bounded_and_the_pool_survives() {
    let (pool, _) = pool(TestPostgres::shared()).await;
    let full = format!("SELECT generate_series(1, {POSTGRES_ROWS_MAX})");
    let rows = pool.query(&full, &[], soon()).await.expect("as many as may be");
    assert_eq!(rows.rows.len(), POSTGRES_ROWS_MAX);
    for sql in [
        format!("SELECT generate_series(0, {POSTGRES_ROWS_MAX})"),
        "SELECT generate_series(1, 100000000)".to_owned(),
        "SELECT repeat('x', 1000000) FROM generate_series(1, 9)".to_owned(),
        "SELECT repeat('x', 9000000)".to_owned(),
    ] {
        let error = pool.query(&sql, &[], soon()).await.expect_err("too much");
        assert!(matches!(error, Error::TooLarge), "{sql}: {error:?}");
    }
    assert!(matches!(one(&pool, "SELECT 1", &[]).await, Value::Int32(1)));
}

#[tokio::test]
async fn a_slow_statement_ends_at_its_timeout() {
    let server = TestPostgres::shared();
    let (_, url) = pool(server).await;
    let pool = open(&url, &role_of(&url), 1, Duration::from_millis(50));
    let error = pool.query("SELECT pg_sleep(60)", &[], soon()).await.expect_err("slow");
    assert!(matches!(error, Error::Timeout), "{error:?}");
    assert_eq!(pool.connections(), (1, 1), "the server ended it, so the connection is fine");
}

#[tokio::test]
async fn a_cancelled_query_is_ended_and_its_connection_closed() {
    let server = TestPostgres::shared();
    let (_, url) = pool(server).await;
    let pool = Arc::new(open(&url, &role_of(&url), 1, Duration::from_secs(60)));
    let asleep = "query LIKE 'SELECT pg_sleep%' AND state = 'active'";

    // The request's own deadline.
    let deadline = Instant::now() + Duration::from_millis(100);
    let error = pool.query("SELECT pg_sleep(60)", &[], deadline).await.expect_err("late");
    assert!(matches!(error, Error::Timeout), "{error:?}");
    eventually("the cancel arrives", async || idle_backends(server, &url, asleep) == 0).await;

    // A request that is dropped, as one is whose guest has trapped.
    let dropped = tokio::spawn({
        let pool = pool.clone();
        async move { pool.query("SELECT pg_sleep(60)", &[], soon()).await.map(drop) }
    });
    eventually("it runs", async || idle_backends(server, &url, asleep) == 1).await;
    dropped.abort();
    assert!(matches!(one(&pool, "SELECT 7", &[]).await, Value::Int32(7)), "the next one has a connection");
    eventually("the cancel arrives", async || idle_backends(server, &url, asleep) == 0).await;
}

#[tokio::test]
async fn a_transaction_never_reaches_the_next_borrower() {
    let server = TestPostgres::shared();
    let (_, url) = pool(server).await;
    create(server, &url, "CREATE TABLE t (i int)");
    let pool = open(&url, &role_of(&url), 1, Duration::from_secs(3));
    let open_ones = "state LIKE 'idle in transaction%'";
    let count = async || one(&pool, "SELECT count(*) FROM t", &[]).await;

    // Leaked: dropped without a word.
    let mut leaked = pool.begin(Isolation::ReadCommitted, soon()).await.expect("begun");
    leaked.execute("INSERT INTO t VALUES (1)", &[], soon()).await.expect("inserted");
    drop(leaked);
    assert!(matches!(count().await, Value::Int64(0)));

    // Dropped in the middle of a statement.
    let mut busy = pool.begin(Isolation::ReadCommitted, soon()).await.expect("begun");
    let _ = tokio::time::timeout(Duration::from_millis(50), busy.query("SELECT pg_sleep(60)", &[], soon()))
        .await
        .expect_err("still asleep");
    drop(busy);
    assert!(matches!(count().await, Value::Int64(0)));

    // Its request's deadline passed; there is nothing left to commit.
    let mut late = pool.begin(Isolation::ReadCommitted, soon()).await.expect("begun");
    late.execute("INSERT INTO t VALUES (1)", &[], soon()).await.expect("inserted");
    let error = late.query("SELECT pg_sleep(60)", &[], Instant::now()).await.expect_err("late");
    assert!(matches!(error, Error::Timeout));
    assert!(matches!(late.commit(soon()).await, Err(Error::TransactionEnded)));
    assert!(matches!(count().await, Value::Int64(0)));

    // Ended properly, it gives its connection back.
    let mut done = pool.begin(Isolation::Serializable, soon()).await.expect("begun");
    done.execute("INSERT INTO t VALUES (1)", &[], soon()).await.expect("inserted");
    done.commit(soon()).await.expect("committed");
    assert_eq!(pool.connections(), (1, 1));
    let mut undone = pool.begin(Isolation::RepeatableRead, soon()).await.expect("begun");
    undone.execute("INSERT INTO t VALUES (2)", &[], soon()).await.expect("inserted");
    undone.rollback(soon()).await.expect("rolled back");
    assert_eq!(pool.connections(), (1, 1));
    assert!(matches!(count().await, Value::Int64(1)));
    eventually("none is open", async || idle_backends(server, &url, open_ones) == 0).await;
}

#[tokio::test]
async fn a_failed_transaction_cannot_be_committed() {
    let server = TestPostgres::shared();
    let (pool, url) = pool(server).await;
    create(server, &url, "CREATE TABLE t (i int PRIMARY KEY)");
    let mut transaction = pool.begin(Isolation::ReadCommitted, soon()).await.expect("begun");
    transaction.execute("INSERT INTO t VALUES (1)", &[], soon()).await.expect("inserted");
    transaction.execute("INSERT INTO t VALUES (1)", &[], soon()).await.expect_err("taken");
    let after = transaction.query("SELECT 1", &[], soon()).await.expect_err("only rollback is left");
    assert_eq!(code(&after), "25P02");
    let error = transaction.commit(soon()).await.expect_err("nothing to commit");
    assert_eq!(code(&error), "25P02");
    assert!(matches!(one(&pool, "SELECT count(*) FROM t", &[]).await, Value::Int64(0)));
}

#[tokio::test]
async fn a_batch_happens_whole_or_not_at_all() {
    let server = TestPostgres::shared();
    let (pool, url) = pool(server).await;
    create(server, &url, "CREATE TABLE t (i int PRIMARY KEY)");
    let insert =
        |i| Statement { sql: "INSERT INTO t VALUES ($1) RETURNING i".into(), params: vec![Value::Int32(i)] };
    let many: Vec<_> = (0..64).map(insert).collect();
    let outcomes = pool.batch(&many, soon()).await.expect("inserted");
    let order: Vec<_> = outcomes.iter().map(|outcome| format!("{:?}", outcome.rows.rows[0][0])).collect();
    assert_eq!(order[63], "Value::Int32(63)");
    assert!(outcomes.iter().all(|outcome| outcome.affected == 1));

    let error = pool.batch(&[insert(100), insert(5), insert(101)], soon()).await.expect_err("5 is taken");
    assert_eq!(code(&error), "23505", "the first error, not one that follows from it");
    let bad = Statement { sql: "INSERT INTO t VALUES ($1)".into(), params: vec![Value::Text("x".into())] };
    let error = pool.batch(&[insert(102), bad], soon()).await.expect_err("not an integer");
    assert!(matches!(error, Error::BadParameter((1, _))));
    let big = Statement { sql: "SELECT generate_series(0, 10000)".into(), params: vec![] };
    let error = pool.batch(&[insert(103), big], soon()).await.expect_err("too much");
    assert!(matches!(error, Error::TooLarge));
    assert!(matches!(one(&pool, "SELECT count(*) FROM t", &[]).await, Value::Int64(64)));
}

#[tokio::test]
async fn a_session_that_was_changed_is_not_lent_again() {
    let server = TestPostgres::shared();
    let (_, url) = pool(server).await;
    let pool = open(&url, &role_of(&url), 1, Duration::from_secs(3));
    let backend = async || format!("{:?}", one(&pool, "SELECT pg_backend_pid()", &[]).await);
    let first = backend().await;
    assert_eq!(backend().await, first, "the connection is reused");
    one(&pool, "SELECT set_config('wasmyard.test', 'leak', false)", &[]).await;
    assert_ne!(backend().await, first);
    let left = one(&pool, "SELECT current_setting('wasmyard.test', true)", &[]).await;
    assert!(matches!(left, Value::Null), "{left:?}");
}

#[tokio::test]
async fn statements_are_prepared_once_and_kept_within_bounds() {
    let server = TestPostgres::shared();
    let (_, url) = pool(server).await;
    let pool = open(&url, &role_of(&url), 1, Duration::from_secs(3));
    let kept = "SELECT count(*) FROM pg_prepared_statements";
    for _ in 0..3 {
        one(&pool, "SELECT 1", &[]).await;
    }
    assert!(matches!(one(&pool, kept, &[]).await, Value::Int64(2)), "one each");
    for i in 0..POSTGRES_STATEMENTS_KEPT + 50 {
        one(&pool, &format!("SELECT {i} + 1"), &[]).await;
    }
    let Value::Int64(count) = one(&pool, kept, &[]).await else { panic!("a count") };
    assert!(usize::try_from(count).expect("a count") <= POSTGRES_STATEMENTS_KEPT + 1, "{count}");
}

#[tokio::test]
async fn a_migration_under_a_kept_statement_goes_unnoticed() {
    let server = TestPostgres::shared();
    let (_, url) = pool(server).await;
    create(server, &url, "CREATE TABLE t (i int); INSERT INTO t VALUES (1)");
    let pool = open(&url, &role_of(&url), 1, Duration::from_secs(3));
    assert_eq!(pool.query("SELECT * FROM t", &[], soon()).await.expect("rows").columns, ["i"]);
    create(server, &url, "ALTER TABLE t ADD COLUMN j int");
    assert_eq!(pool.query("SELECT * FROM t", &[], soon()).await.expect("rows").columns, ["i", "j"]);
}

// On several threads, so that the connections hear of their end while this one waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_database_costs_errors_of_its_own_kind_and_no_more() {
    let server = TestPostgres::start();
    let (pool, _) = pool(&server).await;
    one(&pool, "SELECT 1", &[]).await;
    server.stop();
    for _ in 0..5 {
        let error = pool.query("SELECT 1", &[], soon()).await.expect_err("down");
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
    assert!(matches!(
        pool.begin(Isolation::ReadCommitted, soon()).await.map(drop),
        Err(Error::Unavailable(_))
    ));
    server.resume();
    eventually("it recovers", async || pool.query("SELECT 1", &[], soon()).await.is_ok()).await;

    // The connections of the pool died while nobody looked: nobody has to notice.
    server.kill();
    server.resume();
    assert!(matches!(one(&pool, "SELECT 1", &[]).await, Value::Int32(1)));
}

#[tokio::test]
async fn a_full_pool_is_waited_for_within_the_deadline() {
    let server = TestPostgres::shared();
    let (_, url) = pool(server).await;
    let pool = open(&url, &role_of(&url), 1, Duration::from_secs(3));
    let held = pool.begin(Isolation::ReadCommitted, soon()).await.expect("begun");
    let brief = Instant::now() + Duration::from_millis(30);
    assert!(matches!(pool.query("SELECT 1", &[], brief).await, Err(Error::Timeout)));
    let error = pool.query("SELECT 1", &[], soon()).await.expect_err("the pool's own wait ends first");
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    held.rollback(soon()).await.expect("rolled back");
    assert!(matches!(one(&pool, "SELECT 1", &[]).await, Value::Int32(1)));
}

#[tokio::test]
async fn a_wrong_password_is_no_secret_told() {
    let server = TestPostgres::shared();
    let (_, url) = pool(server).await;
    let grant = PostgresGrant {
        role: role_of(&url),
        pool_max: POSTGRES_POOL_MAX,
        statement_timeout: Duration::from_secs(1),
    };
    let pool = PostgresPool::new("test", &url, "wrong-password", &grant).expect("a pool");
    let error = format!("{:?}", pool.query("SELECT 1", &[], soon()).await.expect_err("refused"));
    assert!(error.contains("Unavailable") && !error.contains("password"), "{error}");
    let Err(error) = PostgresPool::new("test", "postgres://u:hidden@:x/", "p", &grant) else {
        panic!("not a URL")
    };
    assert!(!format!("{error:#}").contains("hidden"), "{error:#}");
}

#[tokio::test]
async fn a_database_is_prepared_once_by_several_hosts() {
    let server = TestPostgres::shared();
    let url = server.database();
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, sql: &str| std::fs::write(folder.path().join(name), sql).expect("a file");
    write("V1__first.sql", "CREATE TABLE a (i int PRIMARY KEY); GRANT SELECT ON a TO \"odd \"\"role\";");
    write("V2__second.sql", "INSERT INTO a VALUES (1);");
    let sample = folder.path().join("sample.sql");
    std::fs::write(&sample, "INSERT INTO a VALUES (2) ON CONFLICT DO NOTHING;").expect("a file");
    let roles = [("odd \"role".to_owned(), "it's a pass\\word".to_owned())];

    let prepare = || prepare_database(&url, Some(folder.path()), &roles, Some(&sample));
    let (one, two, three) = tokio::join!(prepare(), prepare(), prepare());
    let done = [one.expect("one"), two.expect("two"), three.expect("three")];
    assert!(done.iter().all(|done| done.folds_case));
    let applied: Vec<_> = done.iter().flat_map(|done| done.migrations.clone()).collect();
    assert_eq!(applied, ["V1__first", "V2__second"]);
    assert_eq!(done.iter().filter(|done| !done.roles_created.is_empty()).count(), 1);

    let grant =
        PostgresGrant { role: roles[0].0.clone(), pool_max: 1, statement_timeout: Duration::from_secs(1) };
    let pool = PostgresPool::new("test", &url, &roles[0].1, &grant).expect("a pool");
    let rows = pool.query("SELECT i FROM a ORDER BY i", &[], soon()).await.expect("its grant and password");
    assert_eq!(rows.rows.len(), 2);

    write("V3__third.sql", "SELECT 1;\nSELEC 2;");
    let error = format!("{:#}", prepare().await.expect_err("a typing error"));
    assert!(error.contains("third") && error.contains("SELEC"), "{error}");
    std::fs::remove_file(folder.path().join("V3__third.sql")).expect("removed");
    std::fs::write(&sample, "SELECT 1;\nSELECT nothing;").expect("a file");
    let error = format!("{:#}", prepare().await.expect_err("a typing error"));
    assert!(error.contains("sample.sql line 2"), "{error}");
}

//! The orders service.

use std::time::Duration;

use serde_json::json;
use wasmyard::capability::postgres::{Error, Value};
use wasmyard::capability::services;
use wasmyard::testing::{
    FakeRedis, Harness, HarnessBuilder, ScriptedAnswer, ScriptedPostgres, reply, rows, violation,
};

use crate::{
    away, held_for, holding, left, logged_cause, numeric, params, pointers, problem, refused, service, start,
};

const LIST: &str = "/api/v1/orders";
const COLUMNS: [&str; 8] =
    ["id", "user_id", "product_id", "quantity", "total_price", "status", "created_at", "items"];
const STATUSES: [&str; 5] = ["pending", "processing", "shipped", "delivered", "cancelled"];
const REACHABLE: [&str; 4] = ["processing", "shipped", "delivered", "cancelled"];

fn allowed(from: &str) -> &'static [&'static str] {
    match from {
        "pending" => &["processing", "cancelled"],
        "processing" => &["shipped", "cancelled"],
        "shipped" => &["delivered"],
        _ => &[],
    }
}

/// A database in which order 7 is begun, written and ended.
fn making() -> ScriptedPostgres {
    begun()
        .expect("INSERT INTO orders", rows(["id"], [vec![7.into()]]))
        .expect(ENDED, ScriptedAnswer::Affected(1))
}

/// A database in which order 7 is begun, and nothing more.
fn begun() -> ScriptedPostgres {
    ScriptedPostgres::new().expect("INSERT INTO order_sagas", saga())
}

fn saga() -> ScriptedAnswer {
    rows(["order_id", "started_at"], [vec![7.into(), Value::Timestamp(0)]])
}

const ENDED: &str = "DELETE FROM order_sagas WHERE order_id = $1 AND step = 'confirming'";
const RETURNED: &str = "DELETE FROM order_sagas WHERE order_id = $1 AND step = 'returning'";
const GIVEN_UP: &str = "SET step = 'undoing'";

fn order(status: &str) -> ScriptedAnswer {
    let total = numeric("1998.00");
    rows(
        COLUMNS,
        [vec![
            7.into(),
            1.into(),
            2.into(),
            2.into(),
            total,
            status.into(),
            Value::Timestamp(0),
            Value::Null,
        ]],
    )
}

fn nothing() -> ScriptedAnswer {
    rows(COLUMNS, [])
}

/// The orders service beside users and products that have everything, at this price.
fn shop(postgres: &ScriptedPostgres, redis: &FakeRedis, price: &str) -> HarnessBuilder {
    let product = format!(r#"{{"id":2,"name":"Smartphone","price":{price},"stock":5}}"#);
    Harness::service(&service("orders"))
        .postgres(postgres.clone())
        .redis(redis.clone())
        .peer("users", |_| reply(200, "{}"))
        .peer("products", move |_| reply(200, &product))
}

async fn started(builder: HarnessBuilder) -> Harness {
    builder.start().await.expect("the component keeps to its manifest")
}

#[tokio::test]
async fn a_miss_fills_the_labs_keys() {
    let postgres = ScriptedPostgres::new()
        .expect("FROM orders WHERE id = $1", order("pending"))
        .expect("FROM orders WHERE id > $1::int8 ORDER BY id LIMIT $2", order("pending"));
    let redis = FakeRedis::new();
    let service = start("orders", &postgres, &redis).await;
    let stored = r#"{"id":7,"user_id":1,"product_id":2,"quantity":2,"total_price":1998.00,"status":"pending","created_at":"1970-01-01T00:00:00Z"}"#;
    let item = service.get("/api/v1/orders/7").await.expect("an answer");
    assert_eq!(&item.body[..], stored.as_bytes());
    held_for(&redis, "orders:7", stored.as_bytes(), 300);
    let list = service.get(LIST).await.expect("an answer");
    assert_eq!(&list.body[..], format!("[{stored}]").as_bytes());
    held_for(&redis, "orders:all", &list.body, 60);
}

#[tokio::test]
async fn an_order_is_made_from_what_the_owners_of_its_parts_say() {
    let keys = ["orders:all", "orders:7", "orders:8"];
    let (postgres, redis) = (making(), holding(&keys));
    let service = started(shop(&postgres, &redis, "999.00")).await;
    let created = service.post(LIST, &json!({ "user_id": 1, "product_id": 2, "quantity": 2 }));
    let created = created.await.expect("an answer");
    assert_eq!((created.status.as_u16(), created.header("location")), (201, Some("/api/v1/orders/7")));
    assert_eq!(left(&redis, &keys), ["orders:8"]);

    // The price past the cache of products; the user may come from one. Then the saga.
    let called = service.called();
    let called: Vec<_> =
        called.iter().map(|(name, call)| (name.as_str(), call.method.as_str(), call.path.as_str())).collect();
    assert_eq!(
        called,
        [
            ("users", "GET", "/api/v1/users/1"),
            ("products", "GET", "/api/v1/products/2"),
            ("products", "PUT", "/internal/reservations/7"),
            ("products", "PUT", "/internal/reservations/7/confirmation"),
        ]
    );
    let calls = service.called();
    assert_eq!(calls[1].1.headers, [("cache-control".to_owned(), b"no-cache".to_vec())]);
    assert_eq!(calls[2].1.body, br#"{"items":[{"product_id":2,"quantity":2}]}"#);
    let expected = r#"{"id":7,"user_id":1,"product_id":2,"quantity":2,"total_price":1998.00,"status":"pending","created_at":"1970-01-01T00:00:00Z"}"#;
    assert_eq!(std::str::from_utf8(&created.body), Ok(expected));
}

#[tokio::test]
async fn an_order_of_several_lines_is_one_reservation_and_one_order() {
    let postgres = making();
    let service = started(shop(&postgres, &FakeRedis::new(), "0.35")).await;
    let lines = json!([{ "product_id": 3, "quantity": 2 }, { "product_id": 2, "quantity": 1 }]);
    let created = service.post(LIST, &json!({ "user_id": 1, "items": lines, "total_price": 1.05 }));
    let created = created.await.expect("an answer");
    assert_eq!(created.status, 201, "{created:?}");
    let expected = r#"{"id":7,"user_id":1,"product_id":null,"quantity":null,"total_price":1.05,"status":"pending","created_at":"1970-01-01T00:00:00Z","items":[{"product_id":3,"quantity":2},{"product_id":2,"quantity":1}]}"#;
    assert_eq!(std::str::from_utf8(&created.body), Ok(expected));
    let calls = service.called();
    assert_eq!(calls.len(), 5, "{calls:?}");
    assert_eq!(
        calls[3].1.body,
        br#"{"items":[{"product_id":3,"quantity":2},{"product_id":2,"quantity":1}]}"#
    );
    let written = &params(&postgres)[1];
    assert!(written.contains("[Int32(7), Int32(1), Null, Null, Numeric(\"1.05\")"), "{written}");
    assert!(written.contains("Int32Array([Some(3), Some(2)]), Int32Array([Some(2), Some(1)])"), "{written}");
}

#[tokio::test]
async fn too_little_stock_is_told_and_leaves_nothing_behind() {
    let redis = holding(&["orders:all"]);
    let postgres = begun().expect("DELETE FROM idempotency_keys", ScriptedAnswer::Affected(0));
    let service = shop(&postgres, &redis, "1").peer("products", |call| match call.method.as_str() {
        "GET" => reply(200, r#"{"price": 1}"#),
        _ => reply(409, r#"{"status":409,"product":2,"requested":5,"available":4}"#),
    });
    let service = started(service).await;
    let refused = service.post(LIST, &json!({ "user_id": 1, "product_id": 2, "quantity": 5 }));
    let refused = problem(&refused.await.expect("an answer"), 409);
    assert_eq!(pointers(&refused), ["/quantity"]);
    let told = (&refused["product"], &refused["requested"], &refused["available"]);
    assert_eq!(told, (&json!(2), &json!(5), &json!(4)));
    assert_eq!(left(&redis, &["orders:all"]), ["orders:all"]);
}

#[tokio::test]
async fn a_reservation_of_unknown_outcome_is_given_up_for_the_sweep() {
    use services::Error as Trouble;
    for (trouble, status) in [
        (Err(Trouble::Timeout), 504),
        (Err(Trouble::Failed("swordfish".into())), 503),
        (reply(500, "{}"), 503),
        (reply(404, "{}"), 500),
    ] {
        let postgres = begun().expect(GIVEN_UP, ScriptedAnswer::Affected(1));
        let service = shop(&postgres, &FakeRedis::new(), "1").peer("products", move |call| {
            if call.method == "GET" { reply(200, r#"{"price": 1}"#) } else { trouble.clone() }
        });
        let service = started(service).await;
        let failed = service.post(LIST, &json!({ "user_id": 1, "product_id": 2, "quantity": 1 }));
        problem(&failed.await.expect("an answer"), status);
    }

    // Refused because the sweep was there first: that has undone it.
    let postgres = begun();
    let service = shop(&postgres, &FakeRedis::new(), "1").peer("products", |call| {
        if call.method == "GET" {
            reply(200, r#"{"price": 1}"#)
        } else {
            reply(409, r#"{"state":"released"}"#)
        }
    });
    let late =
        started(service).await.post(LIST, &json!({ "user_id": 1, "product_id": 2, "quantity": 1 })).await;
    problem(&late.expect("an answer"), 503);

    // Or only when the order was to be written.
    let postgres = begun().expect("INSERT INTO orders", rows(["id"], []));
    let service = started(shop(&postgres, &FakeRedis::new(), "1")).await;
    let late = service.post(LIST, &json!({ "user_id": 1, "product_id": 2, "quantity": 1 })).await;
    problem(&late.expect("an answer"), 503);
}

#[tokio::test]
async fn an_order_that_cannot_be_confirmed_is_an_order_all_the_same() {
    for trouble in [reply(503, "{}"), reply(404, "{}"), Err(services::Error::Timeout)] {
        let postgres = begun().expect("INSERT INTO orders", rows(["id"], [vec![7.into()]]));
        let service = shop(&postgres, &FakeRedis::new(), "1").peer("products", move |call| {
            match (call.method.as_str(), call.path.ends_with("/confirmation")) {
                ("GET", _) => reply(200, r#"{"price": 1}"#),
                (_, false) => reply(200, "{}"),
                (_, true) => trouble.clone(),
            }
        });
        let service = started(service).await;
        let made = service.post(LIST, &json!({ "user_id": 1, "product_id": 2, "quantity": 1 }));
        assert_eq!(made.await.expect("an answer").status, 201);
        assert!(service.logged()[0].message.contains("left to the sweep"), "{:?}", service.logged());
    }
}

#[tokio::test]
async fn the_total_is_price_times_quantity_to_the_cent() {
    for (price, quantity, total) in [
        ("999.00", 2, "1998.00"),
        // Each of these comes out a cent wrong, or with a tail, in binary floats.
        ("0.10", 3, "0.30"),
        ("0.07", 100, "7.00"),
        ("1.10", 1_100, "1210.00"),
        ("4.35", 100, "435.00"),
        ("1.15", 10_000, "11500.00"),
        ("19.99", 3, "59.97"),
        ("1001.13", 9_999, "10010298.87"),
        ("9999.99", 10_000, "99999900.00"),
        ("99999999.99", 1, "99999999.99"),
        ("0.00", 10_000, "0.00"),
        ("5", 2, "10.00"),
    ] {
        let postgres = making();
        let service = started(shop(&postgres, &FakeRedis::new(), price)).await;
        // What the client believes is compared as an amount, not as text.
        let body =
            format!(r#"{{"user_id": 1, "product_id": 2, "quantity": {quantity}, "total_price": {total}0}}"#);
        let created = service.post(LIST, &body).await.expect("an answer");
        assert_eq!(created.status, 201, "{price} times {quantity}: {created:?}");
        let written = &params(&postgres)[1];
        let row =
            format!(r#"[Int32(7), Int32(1), Int32(2), Int32({quantity}), Numeric("{total}"), Timestamp(0)"#);
        assert!(written.starts_with(&row), "{price} times {quantity}: {written}");
    }
}

#[tokio::test]
async fn an_order_is_for_the_caller_unless_an_admin_says_for_whom() {
    let body = |user: serde_json::Value| json!({ "user_id": user, "product_id": 2, "quantity": 1 });
    for (caller, role, user, expected) in [
        ("2", "customer", json!(null), Ok(2)),
        ("2", "customer", json!(2), Ok(2)),
        ("2", "customer", json!(1), Err(403)),
        ("4", "admin", json!(1), Ok(1)),
        ("4", "admin", json!(null), Ok(4)),
        ("4", "admin", json!(0), Err(422)),
    ] {
        let mut postgres = ScriptedPostgres::new();
        if expected.is_ok() {
            postgres = making();
        }
        let service = started(shop(&postgres, &FakeRedis::new(), "999.00")).await;
        let answer = service.post(LIST, &body(user)).caller(caller, &[role]).await.expect("an answer");
        match expected {
            Ok(whose) => {
                assert_eq!(answer.status, 201, "{answer:?}");
                assert!(
                    params(&postgres)[1].starts_with(&format!("[Int32(7), Int32({whose}), ")),
                    "{caller}"
                );
                assert_eq!(service.called()[0].1.path, format!("/api/v1/users/{whose}"));
            }
            Err(status) => {
                assert_eq!(pointers(&problem(&answer, status)), ["/user_id"]);
                assert!(service.called().is_empty() && postgres.asked().is_empty());
            }
        }
    }
}

#[tokio::test]
async fn a_customer_sees_their_own_orders_and_an_admin_all_of_them() {
    // The scripted order is user 1's, and in the cache after the first look.
    let postgres = ScriptedPostgres::new().expect("FROM orders WHERE id = $1", order("pending"));
    let redis = FakeRedis::new();
    let service = start("orders", &postgres, &redis).await;
    let look = async |subject: &str, role: &str| {
        let call = service.get("/api/v1/orders/7").caller(subject, &[role]);
        call.await.expect("an answer").status.as_u16()
    };
    assert_eq!(look("2", "customer").await, 404);
    assert_eq!(look("1", "customer").await, 200);
    assert_eq!(look("4", "admin").await, 200);
    assert_eq!(look("2", "customer").await, 404);

    let postgres = ScriptedPostgres::new()
        .expect("FROM orders WHERE user_id = $3 AND id > $1::int8 ORDER BY id LIMIT $2", order("pending"))
        .expect("FROM orders WHERE id > $1::int8 ORDER BY id LIMIT $2", order("pending"));
    let service = start("orders", &postgres, &redis).await;
    for (subject, role) in [("1", "customer"), ("4", "admin")] {
        let list = service.get(LIST).caller(subject, &[role]).await.expect("an answer");
        assert_eq!(list.status, 200, "{list:?}");
        assert_eq!(
            redis.value("orders:all").is_some(),
            role == "admin",
            "one customer's list is not everybody's"
        );
    }
    assert_eq!(params(&postgres), ["[Int64(0), Int64(101), Int32(1)]", "[Int64(0), Int64(101)]"]);
}

#[tokio::test]
async fn an_order_that_is_wrong_names_each_field_and_writes_nothing() {
    let absent = || |_: &services::CallRequest| reply(404, "{}");
    let (postgres, redis) = (ScriptedPostgres::new(), FakeRedis::new());
    let body = json!({ "user_id": 9999, "product_id": 8888, "quantity": 1 });
    for (builder, expected) in [
        (shop(&postgres, &redis, "1").peer("users", absent()), vec!["/user_id"]),
        (shop(&postgres, &redis, "1").peer("products", absent()), vec!["/product_id"]),
        (
            shop(&postgres, &redis, "1").peer("users", absent()).peer("products", absent()),
            vec!["/user_id", "/product_id"],
        ),
    ] {
        let refused = started(builder).await.post(LIST, &body).await.expect("an answer");
        assert_eq!(pointers(&problem(&refused, 422)), expected);
    }

    let service = started(shop(&postgres, &redis, "99.99")).await;
    let wrong = json!({ "user_id": 1, "product_id": 2, "quantity": 5, "total_price": 499.96 });
    let wrong = problem(&service.post(LIST, &wrong).await.expect("an answer"), 422);
    assert_eq!(pointers(&wrong), ["/total_price"]);
    assert!(wrong["detail"].as_str().is_some_and(|detail| detail.contains("must be 499.95")), "{wrong}");

    let dear = started(shop(&postgres, &redis, "10000.00")).await;
    let dear = dear.post(LIST, &json!({ "user_id": 1, "product_id": 2, "quantity": 10_000 })).await;
    assert_eq!(
        pointers(&problem(&dear.expect("an answer"), 422)),
        ["/quantity"],
        "the column would overflow"
    );

    // What is wrong by itself is told before anyone is asked.
    let quiet = started(Harness::service(&crate::service("orders"))).await;
    for (body, expected) in [
        (r#"{"user_id": 1, "product_id": 2, "quantity": 0}"#, vec!["/quantity"]),
        (r#"{"user_id": 1, "product_id": 2, "quantity": 10001}"#, vec!["/quantity"]),
        (
            r#"{"user_id": -1, "product_id": 1e10, "quantity": 1.5}"#,
            vec!["/user_id", "/product_id", "/quantity"],
        ),
        (r#"{"user_id": 1, "product_id": 2, "quantity": 1, "status": "shipped"}"#, vec!["/status"]),
        ("{}", vec!["/user_id", "/product_id", "/quantity"]),
    ] {
        let refused = quiet.post(LIST, &body).await.expect("an answer");
        assert_eq!(pointers(&problem(&refused, 422)), expected, "{body}");
    }
    assert!(quiet.called().is_empty());
    assert!(postgres.asked().is_empty());
}

#[tokio::test]
async fn a_neighbour_in_trouble_is_told_from_a_wrong_order() {
    use services::Error as Trouble;
    let body = json!({ "user_id": 1, "product_id": 2, "quantity": 1 });
    for (trouble, status, retry_after, cause) in [
        (Err(Trouble::Saturated(2_500)), 503, Some("3"), "users is saturated"),
        (Err(Trouble::Failed("swordfish".into())), 503, Some("1"), "users failed: swordfish"),
        (Err(Trouble::Timeout), 504, None, "users did not answer in time"),
        (Err(Trouble::TooDeep), 500, None, "nested too deep"),
        (reply(503, "{}"), 503, Some("1"), "users answered with status 503"),
        (reply(301, "{}"), 503, Some("1"), "users answered with status 301"),
    ] {
        let (postgres, redis) = (ScriptedPostgres::new(), holding(&["orders:all"]));
        let service = started(shop(&postgres, &redis, "1").peer("users", move |_| trouble.clone())).await;
        let failed = service.post(LIST, &body).await.expect("an answer");
        problem(&failed, status);
        assert_eq!(failed.header("retry-after"), retry_after, "{cause}");
        logged_cause(&service, cause);
        assert_eq!(left(&redis, &["orders:all"]), ["orders:all"], "nothing was written");
    }

    // A grant that lacks is the service's error, and not the client's.
    let (postgres, redis) = (ScriptedPostgres::new(), FakeRedis::new());
    let service =
        shop(&postgres, &redis, "1").grants(|grants| grants.services.retain(|name| name != "products"));
    let service = started(service).await;
    problem(&service.post(LIST, &body).await.expect("an answer"), 500);
    logged_cause(&service, "products is not granted");

    // So is a product that has no price.
    let service = shop(&postgres, &redis, "1").peer("products", |_| reply(200, r#"{"price": "free"}"#));
    let service = started(service).await;
    problem(&service.post(LIST, &body).await.expect("an answer"), 500);
    logged_cause(&service, "answered with no price");
}

#[tokio::test]
async fn a_user_or_product_that_goes_in_the_middle_is_told_as_one_that_was_never_there() {
    for (constraint, pointer) in
        [("orders_user_id_fkey", "/user_id"), ("orders_product_id_fkey", "/product_id")]
    {
        let postgres = begun()
            .expect("INSERT INTO orders", violation("23503", constraint))
            .expect(GIVEN_UP, ScriptedAnswer::Affected(1));
        let redis = holding(&["orders:all"]);
        let service = started(shop(&postgres, &redis, "1.00")).await;
        let body = json!({ "user_id": 1, "product_id": 2, "quantity": 1 });
        let refused = service.post(LIST, &body).await.expect("an answer");
        assert_eq!(pointers(&problem(&refused, 422)), [pointer]);
        assert_eq!(left(&redis, &["orders:all"]), ["orders:all"]);
    }
}

#[tokio::test]
async fn an_order_goes_one_step_at_a_time_and_never_back() {
    for current in STATUSES {
        for wanted in STATUSES {
            let keys = ["orders:all", "orders:7", "orders:8"];
            let redis = holding(&keys);
            let postgres = ScriptedPostgres::new().expect("FROM orders WHERE id = $1", order(current));
            let next = allowed(current).contains(&wanted);
            let postgres = if next { postgres.expect("UPDATE orders", order(wanted)) } else { postgres };
            let settles = next && wanted == "cancelled";
            let postgres =
                if settles { postgres.expect(RETURNED, ScriptedAnswer::Affected(1)) } else { postgres };
            let service = shop(&postgres, &redis, "1").peer("products", |_| reply(200, "{}"));
            let service = started(service).await;
            let answer = service.patch("/api/v1/orders/7/status", &json!({ "status": wanted }));
            let answer = answer.await.expect("an answer");

            if next {
                assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (200, &wanted.into()));
                assert_eq!(left(&redis, &keys), ["orders:8"]);
                let update =
                    format!(r#"[Int32(7), Text("{current}"), Text("{wanted}"), Null, Trace, Int32(6000)]"#);
                assert_eq!(params(&postgres)[1], update);
                continue;
            }
            assert_eq!(left(&redis, &keys), keys, "nothing changes from {current} to {wanted}");
            let refused = problem(&answer, 409);
            assert_eq!(
                (&refused["current"], &refused["allowed"]),
                (&json!(current), &json!(allowed(current)))
            );
        }
    }
}

#[tokio::test]
async fn an_unknown_status_is_told_the_valid_ones_and_nobody_is_asked() {
    let postgres = ScriptedPostgres::new();
    let service = start("orders", &postgres, &FakeRedis::new()).await;
    for status in [json!("lost"), json!("SHIPPED"), json!(""), json!(null), json!(3), json!("x".repeat(500))]
    {
        let refused = service.patch("/api/v1/orders/7/status", &json!({ "status": status }));
        let refused = problem(&refused.await.expect("an answer"), 422);
        assert_eq!((pointers(&refused), &refused["valid"]), (vec!["/status"], &json!(REACHABLE)), "{status}");
    }
    assert!(postgres.asked().is_empty());
}

#[tokio::test]
async fn of_two_who_take_a_step_at_once_the_second_learns_what_has_become_of_the_order() {
    let redis = holding(&["orders:all", "orders:7"]);
    let postgres = ScriptedPostgres::new()
        .expect("FROM orders WHERE id = $1", order("pending"))
        .expect("SET status = $3, event_seq = event_seq + 1 WHERE id = $1 AND status = $2", nothing())
        .expect("FROM orders WHERE id = $1", order("processing"));
    let service = start("orders", &postgres, &redis).await;
    let late = service.patch("/api/v1/orders/7/status", r#"{"status": "processing"}"#);
    let late = problem(&late.await.expect("an answer"), 409);
    let told = (&late["current"], &late["allowed"]);
    assert_eq!(told, (&json!("processing"), &json!(["shipped", "cancelled"])));
    assert_eq!(pointers(&late), ["/status"]);
    assert_eq!(left(&redis, &["orders:all", "orders:7"]).len(), 2, "the winner invalidates");
    let cannot = "order 7 is processing and cannot become processing";
    assert_eq!(late["detail"], cannot);

    // The step is still allowed, from where the order is now.
    let postgres = ScriptedPostgres::new()
        .expect("FROM orders WHERE id = $1", order("pending"))
        .expect("UPDATE orders", nothing())
        .expect("FROM orders WHERE id = $1", order("processing"));
    let service = start("orders", &postgres, &redis).await;
    let late = service.patch("/api/v1/orders/7/status", r#"{"status": "cancelled"}"#);
    let late = problem(&late.await.expect("an answer"), 409);
    assert_eq!(late["detail"], "order 7 has just become processing");
    assert_eq!(late["allowed"], json!(["shipped", "cancelled"]));

    // Or the order has gone altogether.
    let postgres = ScriptedPostgres::new()
        .expect("FROM orders WHERE id = $1", order("pending"))
        .expect("UPDATE orders", nothing())
        .expect("FROM orders WHERE id = $1", nothing());
    let service = start("orders", &postgres, &redis).await;
    let late = service.patch("/api/v1/orders/7/status", r#"{"status": "processing"}"#);
    problem(&late.await.expect("an answer"), 404);
}

#[tokio::test]
async fn a_saga_is_its_requests_for_as_long_as_a_request_may_last() {
    let postgres = making();
    let builder = shop(&postgres, &FakeRedis::new(), "999.00");
    let service = started(builder.limits(|limits| limits.request_timeout = Duration::from_secs(60))).await;
    let body = json!({ "user_id": 1, "product_id": 2, "quantity": 2 });
    assert_eq!(service.post(LIST, &body).await.expect("an answer").status, 201);
    let params = params(&postgres);
    assert_eq!(params[0], "[Int32(61000)]");
    assert!(params[1].ends_with("Int32(61000)]"), "{params:?}");
}

#[tokio::test]
async fn a_cancelled_order_gives_its_stock_back() {
    let postgres = ScriptedPostgres::new()
        .expect("FROM orders WHERE id = $1", order("processing"))
        .expect("UPDATE orders", order("cancelled"))
        .expect(RETURNED, ScriptedAnswer::Affected(1));
    let service = shop(&postgres, &FakeRedis::new(), "1").peer("products", |_| reply(200, "{}"));
    let service = started(service).await;
    let cancelled = service.patch("/api/v1/orders/7/status", r#"{"status": "cancelled"}"#);
    assert_eq!(cancelled.await.expect("an answer").status, 200);
    let called: Vec<_> =
        service.called().into_iter().map(|(name, call)| (name, call.method, call.path)).collect();
    let release = ("products".to_owned(), "DELETE".to_owned(), "/internal/reservations/7".to_owned());
    assert_eq!(called, [release]);
    assert!(service.logged().is_empty());
}

#[tokio::test]
async fn an_order_stays_cancelled_when_its_stock_cannot_go_back_yet() {
    for trouble in [reply(503, "{}"), reply(404, "{}"), Err(services::Error::Timeout)] {
        let postgres = ScriptedPostgres::new()
            .expect("FROM orders WHERE id = $1", order("pending"))
            .expect("INSERT INTO order_sagas", order("cancelled"));
        let redis = holding(&["orders:all", "orders:7"]);
        let builder = shop(&postgres, &redis, "1").peer("products", move |_| trouble.clone());
        let service = started(builder).await;
        let cancelled = service.patch("/api/v1/orders/7/status", r#"{"status": "cancelled"}"#);
        let cancelled = cancelled.await.expect("an answer");
        assert_eq!((cancelled.status.as_u16(), &cancelled.json()["status"]), (200, &json!("cancelled")));
        assert!(left(&redis, &["orders:all", "orders:7"]).is_empty());
        let logged = service.logged();
        assert!(logged.len() == 1 && logged[0].message.contains("left to the sweep"), "{logged:?}");
    }
}

/// What a turn finds: orders, and where their sagas are.
fn found(sagas: &[(i32, &str)]) -> ScriptedAnswer {
    rows(["order_id", "step"], sagas.iter().map(|(order, step)| vec![(*order).into(), (*step).into()]))
}

const TAKE: &str = "FOR UPDATE SKIP LOCKED";
const FAIL: &str = "SET attempts = attempts + 1";
const LEAVE: &str = "WHERE order_id = ANY($1::int4[]) AND fence = $2";
const FORGET: &str = "DELETE FROM idempotency_keys WHERE (caller, key) IN";

#[tokio::test]
async fn a_turn_ends_what_is_due_each_by_its_own_step() {
    const END: &str = "DELETE FROM order_sagas WHERE order_id = $1 AND fence = $2 AND step = $3";
    let sagas = found(&[(7, "confirming"), (8, "undoing"), (9, "returning")]);
    let postgres = ScriptedPostgres::new()
        .expect(TAKE, sagas)
        .expect(END, ScriptedAnswer::Affected(1))
        .expect(END, ScriptedAnswer::Affected(1))
        // A later turn has it.
        .expect(END, ScriptedAnswer::Affected(0))
        .expect(FORGET, ScriptedAnswer::Affected(0));
    let keys = ["orders:all", "orders:7", "orders:8", "orders:9"];
    let redis = holding(&keys);
    let service = shop(&postgres, &redis, "1").peer("products", |_| reply(200, "{}"));
    let service = started(service).await;
    assert_eq!(service.turn(5).await.expect("a turn"), Ok(()));
    let called: Vec<_> =
        service.called().into_iter().map(|(_, call)| format!("{} {}", call.method, call.path)).collect();
    let path = |order: i32| format!("/internal/reservations/{order}");
    let expected = [
        format!("PUT {}/confirmation", path(7)),
        format!("DELETE {}", path(8)),
        format!("DELETE {}", path(9)),
    ];
    assert_eq!(called, expected);
    assert_eq!(
        params(&postgres)[..2],
        ["[Int64(5), Int32(50)]", r#"[Int32(7), Int64(5), Text("confirming")]"#]
    );
    // Who made an order, or cancelled one, may have died before it could do that.
    assert_eq!(left(&redis, &keys), ["orders:8"]);
}

/// A database in which one saga after the other fails, and then something else happens.
fn failing(sagas: &[(i32, &str)], parked: &[bool]) -> ScriptedPostgres {
    let postgres = ScriptedPostgres::new().expect(TAKE, found(sagas));
    parked
        .iter()
        .fold(postgres, |postgres, parked| postgres.expect(FAIL, rows(["parked"], [vec![(*parked).into()]])))
}

#[tokio::test]
async fn what_cannot_be_ended_is_put_off_and_then_parked() {
    use services::Error as Trouble;
    // A neighbour that is away spares the others the same failure. They are due again at once,
    // and old keys are forgotten all the same.
    for trouble in [
        reply(503, "{}"),
        reply(504, "{}"),
        Err(Trouble::Timeout),
        Err(Trouble::Saturated(1_000)),
        Err(Trouble::Failed("trapped".into())),
    ] {
        let sagas = [(7, "undoing"), (8, "confirming"), (9, "returning"), (10, "undoing"), (11, "undoing")];
        let postgres = failing(&sagas, &[false, true, false])
            .expect(LEAVE, ScriptedAnswer::Affected(2))
            .expect(FORGET, ScriptedAnswer::Affected(0));
        let service = shop(&postgres, &FakeRedis::new(), "1").peer("products", move |_| trouble.clone());
        let service = started(service).await;
        assert_eq!(service.turn(5).await.expect("a turn"), Ok(()));
        assert_eq!(service.called().len(), 3);
        let logged = service.logged();
        for (line, message) in logged.iter().zip(["could not be ended yet", "is parked", "could not be"]) {
            assert!(line.message.contains(message), "{logged:?}");
        }
        assert_eq!(logged.len(), 3);
        let params = params(&postgres);
        assert!(params[1].contains("Text(\"The products service "), "{params:?}");
        assert_eq!(params[4], "[Int32Array([Some(10), Some(11)]), Int64(5)]");
    }

    // One that is itself the trouble keeps none of the others waiting, and neither do many.
    for trouble in [reply(404, "{}"), reply(422, "{}"), reply(500, "{}")] {
        let sagas = [7, 8, 9, 10, 11].map(|order| (order, "confirming"));
        let postgres = failing(&sagas, &[false; 4])
            .expect("DELETE FROM order_sagas", ScriptedAnswer::Affected(1))
            .expect(FORGET, ScriptedAnswer::Affected(0));
        let service = shop(&postgres, &FakeRedis::new(), "1").peer("products", move |call| {
            if call.path.contains("/11/") { reply(200, "{}") } else { trouble.clone() }
        });
        let service = started(service).await;
        assert_eq!(service.turn(5).await.expect("a turn"), Ok(()));
        assert_eq!(service.called().len(), 5);
    }
    // Nor does one whose product somebody has locked, which looks as if the database were away.
    let postgres = failing(&[(7, "undoing"), (8, "undoing")], &[false])
        .expect("DELETE FROM order_sagas", ScriptedAnswer::Affected(1))
        .expect(FORGET, ScriptedAnswer::Affected(0));
    let service = shop(&postgres, &FakeRedis::new(), "1")
        .peer("products", |call| if call.path.ends_with("/7") { reply(504, "{}") } else { reply(200, "{}") });
    let service = started(service).await;
    assert_eq!(service.turn(5).await.expect("a turn"), Ok(()));
    assert_eq!(service.called().len(), 2);

    // Without a database there is no turn, and the reason is logged.
    let postgres = ScriptedPostgres::new().expect(TAKE, away());
    let service = started(shop(&postgres, &FakeRedis::new(), "1")).await;
    let refused = service.turn(5).await.expect("a turn").expect_err("an error");
    assert_eq!(refused, "The database is not available.");
    logged_cause(&service, "swordfish");
}

#[tokio::test]
async fn what_is_parked_is_told() {
    let columns = ["order_id", "step", "attempts", "started_at", "reason"];
    let saga = vec![7.into(), "undoing".into(), 12.into(), Value::Timestamp(5_000_000), "away".into()];
    let postgres = ScriptedPostgres::new().expect("WHERE parked_at IS NOT NULL", rows(columns, [saga]));
    let service = start("orders", &postgres, &FakeRedis::new()).await;
    let parked = service.parked().await.expect("an answer").expect("the list");
    assert_eq!(parked.len(), 1);
    let told = (parked[0].id.as_str(), parked[0].step.as_str(), parked[0].attempts, parked[0].since_ms);
    assert_eq!(told, ("7", "undoing", 12, 5_000));
}

#[tokio::test]
async fn the_history_names_the_verified_caller_and_no_other() {
    let postgres = making()
        .expect("FROM orders WHERE id = $1", order("pending"))
        .expect("INSERT INTO order_history", order("processing"));
    let service = started(shop(&postgres, &FakeRedis::new(), "999.00")).await;
    let body = json!({ "user_id": 1, "product_id": 2, "quantity": 2 });
    let made = service.post(LIST, &body).caller("1", &["customer"]).header("x-subject", "3");
    assert_eq!(made.await.expect("an answer").status, 201);
    let moved =
        service.patch("/api/v1/orders/7/status", r#"{"status": "processing"}"#).caller("2", &["admin"]);
    assert_eq!(moved.await.expect("an answer").status, 200);
    let params = params(&postgres);
    assert!(
        params[1].contains(r#"Int32Array([]), Text("1"), "#)
            && params[4].ends_with(r#"Text("2"), Trace, Int32(6000)]"#),
        "{params:?}"
    );
}

#[tokio::test]
async fn a_history_is_told_and_that_of_no_order_is_404() {
    const COLUMNS: [&str; 3] = ["status", "changed_at", "changed_by"];
    let steps = rows(
        COLUMNS,
        [
            vec!["pending".into(), Value::Timestamp(0), Value::Null],
            vec!["processing".into(), Value::Timestamp(1_000), "2".into()],
        ],
    );
    let postgres = ScriptedPostgres::new()
        .expect("LEFT JOIN order_history", steps)
        .expect("LEFT JOIN order_history", rows(COLUMNS, [vec![Value::Null, Value::Null, Value::Null]]))
        .expect("LEFT JOIN order_history", rows(COLUMNS, []));
    let service = start("orders", &postgres, &FakeRedis::new()).await;
    let path = "/api/v1/orders/7/history";
    let history = service.get(path).await.expect("an answer");
    assert_eq!(
        &history.body[..],
        br#"[{"status":"pending","changed_at":"1970-01-01T00:00:00Z","changed_by":null},{"status":"processing","changed_at":"1970-01-01T00:00:00.001Z","changed_by":"2"}]"#
    );
    // An order that was made past the service has been nowhere.
    assert_eq!(&service.get(path).await.expect("an answer").body[..], b"[]");
    problem(&service.get(path).await.expect("an answer"), 404);
    problem(&service.get("/api/v1/orders/abc/history").await.expect("an answer"), 404);
}

#[tokio::test]
async fn a_write_of_unknown_outcome_still_takes_its_keys_out_of_the_cache() {
    let keys = ["orders:all", "orders:7"];
    for failure in [away().into(), Error::Timeout.into(), refused("08006"), refused("57P01")] {
        let redis = holding(&keys);
        let postgres = ScriptedPostgres::new()
            .expect("FROM orders WHERE id = $1", order("pending"))
            .expect("UPDATE orders", failure)
            .expect("INSERT INTO order_sagas", saga())
            .expect("INSERT INTO orders", Error::Timeout)
            .expect(GIVEN_UP, ScriptedAnswer::Affected(1));
        let service = started(shop(&postgres, &redis, "1.00")).await;
        let failed = service.patch("/api/v1/orders/7/status", r#"{"status": "processing"}"#);
        assert!(failed.await.expect("an answer").status.is_server_error());
        assert!(left(&redis, &keys).is_empty());

        redis.put("orders:all", "[]", None);
        let failed = service.post(LIST, &json!({ "user_id": 1, "product_id": 2, "quantity": 1 }));
        problem(&failed.await.expect("an answer"), 504);
        assert!(left(&redis, &keys).is_empty());
    }
}

#[tokio::test]
async fn the_statistics_do_without_the_database() {
    let postgres = ScriptedPostgres::new().expect("count(*)", Error::Timeout);
    let service = start("orders", &postgres, &FakeRedis::new()).await;
    let stats = service.get("/api/v1/orders/stats").await.expect("an answer");
    assert_eq!((stats.status.as_u16(), &stats.json()["rows"]), (200, &serde_json::Value::Null));
}

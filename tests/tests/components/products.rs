//! The products service.

use serde_json::json;
use wasmyard::capability::postgres::{Error, Value};
use wasmyard::testing::{Answer, FakeRedis, ScriptedAnswer, ScriptedPostgres, rows, violation};

use crate::{
    away, held_for, holding, left, logged_cause, numeric, params, pointers, problem, refused, start,
};

const LIST: &str = "/api/v1/products";
const COLUMNS: [&str; 7] = ["id", "name", "description", "price", "stock", "category", "created_at"];
const PHONE: &str = r#"{"id":2,"name":"Smartphone","description":null,"price":999.00,"stock":5,"category":"Electronics","created_at":"1970-01-01T00:00:00Z"}"#;

fn product(price: &str, category: Option<&str>) -> Vec<Value> {
    let category = category.map_or(Value::Null, Into::into);
    vec![2.into(), "Smartphone".into(), Value::Null, numeric(price), 5.into(), category, Value::Timestamp(0)]
}

fn phone() -> ScriptedAnswer {
    rows(COLUMNS, [product("999.00", Some("Electronics"))])
}

/// What a write returns: the product, and its category as the database folds it.
fn written(category: Option<&str>, folded: Option<&str>) -> ScriptedAnswer {
    let mut row = product("999.00", category);
    row.push(folded.map_or(Value::Null, Into::into));
    rows(COLUMNS.into_iter().chain(["folded"]), [row])
}

#[tokio::test]
async fn a_miss_fills_the_labs_keys_with_exactly_what_was_answered() {
    let postgres = ScriptedPostgres::new()
        .expect("FROM products WHERE id = $1", phone())
        .expect("FROM products WHERE id > $1 ORDER BY id LIMIT $2", phone())
        .expect("WHERE lower(category) = $1 AND id > $2 ORDER BY id LIMIT $3", phone());
    let redis = FakeRedis::new();
    let service = start("products", &postgres, &redis).await;

    let item = service.get("/api/v1/products/2").await.expect("an answer");
    assert_eq!(&item.body[..], PHONE.as_bytes());
    held_for(&redis, "products:2", PHONE.as_bytes(), 300);
    let list = format!("[{PHONE}]");
    for (path, key) in
        [(LIST, "products:all"), ("/api/v1/products?category=Electronics", "products:category:Electronics")]
    {
        let answer = service.get(path).await.expect("an answer");
        assert_eq!(answer.header("cache-status"), Some("wasmyard; fwd=miss; stored"));
        assert_eq!(&answer.body[..], list.as_bytes());
        held_for(&redis, key, list.as_bytes(), 60);
    }
    assert_eq!(
        params(&postgres),
        ["[Int32(2)]", "[Int32(0), Int64(101)]", r#"[Text("electronics"), Int32(0), Int64(101)]"#]
    );
}

#[tokio::test]
async fn a_category_has_one_key_however_it_is_written() {
    let postgres = ScriptedPostgres::new().expect("lower(category) = $1", phone());
    let redis = FakeRedis::new();
    let service = start("products", &postgres, &redis).await;
    let names = ["electronics", "ELECTRONICS", "eLeCtRoNiCs", "Electronics", "%45lectronics"];
    let mut answers: Vec<Answer> = Vec::new();
    for name in names {
        answers.push(service.get(&format!("/api/v1/products?category={name}")).await.expect("an answer"));
    }
    let hits = answers.iter().filter_map(|answer| answer.header("cache-status"));
    assert_eq!(hits.filter(|status| status.contains("hit")).count(), names.len() - 1);
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    assert_eq!(params(&postgres).len(), 1);
}

#[tokio::test]
async fn a_category_without_products_takes_no_place_in_the_cache() {
    let nothing = || rows(COLUMNS, []);
    let postgres = ScriptedPostgres::new()
        .expect("lower(category) = $1", nothing())
        .expect("lower(category) = $1", nothing());
    let redis = FakeRedis::new();
    let service = start("products", &postgres, &redis).await;
    for _ in 0..2 {
        let answer = service.get("/api/v1/products?category=made%20up").await.expect("an answer");
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"[]"[..]));
        assert_eq!(answer.header("cache-status"), Some("wasmyard; fwd=miss"));
    }
    assert_eq!(redis.value("products:category:Made Up"), None);

    // No product can have a name of 51 characters, so nobody is asked.
    let long = "x".repeat(51);
    let answer = service.get(&format!("/api/v1/products?category={long}")).await.expect("an answer");
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"[]"[..]));
    assert_eq!(params(&postgres).len(), 2);
}

#[tokio::test]
async fn an_empty_category_is_no_filter() {
    let postgres = ScriptedPostgres::new().expect("FROM products WHERE id > $1", phone());
    let redis = FakeRedis::new();
    let service = start("products", &postgres, &redis).await;
    let answer = service.get("/api/v1/products?category=").await.expect("an answer");
    assert_eq!(answer.json()[0]["id"], 2);
    assert!(redis.value("products:all").is_some());
}

#[tokio::test]
async fn the_next_page_of_a_category_keeps_its_filter() {
    let row = || product("1.00", Some("Home & Kitchen"));
    let postgres = ScriptedPostgres::new().expect("lower(category) = $1", rows(COLUMNS, [row(), row()]));
    let service = start("products", &postgres, &FakeRedis::new()).await;
    let page = service.get("/api/v1/products?category=home+%26+kitchen&limit=1").await.expect("an answer");
    let link = "</api/v1/products?category=home%20%26%20kitchen&limit=1&cursor=AQAAAAI>; rel=\"next\"";
    assert_eq!(page.header("link"), Some(link));
}

#[tokio::test]
async fn a_price_is_the_databases_to_the_cent() {
    for (stored, shown) in [
        ("999.00", "999.00"),
        ("0.10", "0.10"),
        ("5", "5.00"),
        ("0", "0.00"),
        ("1299.99", "1299.99"),
        ("99999999.99", "99999999.99"),
        ("2.500", "2.50"),
    ] {
        let postgres =
            ScriptedPostgres::new().expect("WHERE id = $1", rows(COLUMNS, [product(stored, None)]));
        let service = start("products", &postgres, &FakeRedis::new()).await;
        let item = service.get("/api/v1/products/2").await.expect("an answer");
        let body = String::from_utf8_lossy(&item.body).into_owned();
        assert!(body.contains(&format!(r#""price":{shown},"#)), "{stored}: {body}");
    }
}

#[tokio::test]
async fn a_price_that_is_no_amount_is_500_and_a_line_in_the_log() {
    for price in [numeric("NaN"), numeric("1.005"), Value::Float64(9.99), Value::Null] {
        let mut row = product("0", None);
        row[3] = price;
        let postgres = ScriptedPostgres::new().expect("WHERE id = $1", rows(COLUMNS, [row]));
        let service = start("products", &postgres, &FakeRedis::new()).await;
        let failed = service.get("/api/v1/products/2").await.expect("no trap");
        problem(&failed, 500);
        logged_cause(&service, "column price is");
    }
}

#[tokio::test]
async fn a_new_product_takes_its_lists_out_of_the_cache_and_no_others() {
    let keys = [
        "products:all",
        "products:2",
        "products:3",
        "products:category:Electronics",
        "products:category:Books",
    ];
    let body = json!({ "name": "Smartphone", "price": 999, "stock": 5, "category": "ELECTRONICS" });
    let redis = holding(&keys);
    let postgres = ScriptedPostgres::new()
        .expect("INSERT INTO products", written(Some("ELECTRONICS"), Some("electronics")))
        .expect("INSERT INTO products", written(None, None));
    let service = start("products", &postgres, &redis).await;
    let created = service.post(LIST, &body).await.expect("an answer");
    assert_eq!((created.status.as_u16(), created.header("location")), (201, Some("/api/v1/products/2")));
    assert!(!created.json().as_object().expect("an object").contains_key("folded"));
    assert_eq!(left(&redis, &keys), ["products:3", "products:category:Books"]);

    // Without a category there is no third key to go.
    let redis_before = left(&redis, &keys);
    let created = service.post(LIST, &json!({ "name": "Pen", "price": 1 })).await.expect("an answer");
    assert_eq!(created.status, 201);
    assert_eq!(left(&redis, &keys), redis_before);

    assert_eq!(
        params(&postgres),
        [
            r#"[Text("Smartphone"), Null, Numeric("999.00"), Int32(5), Text("ELECTRONICS")]"#,
            r#"[Text("Pen"), Null, Numeric("1.00"), Int32(0), Null]"#,
        ]
    );
}

#[tokio::test]
async fn a_change_of_stock_takes_the_product_and_its_lists_out_of_the_cache() {
    let keys = ["products:all", "products:2", "products:category:Electronics", "products:category:Books"];
    let redis = holding(&keys);
    let postgres = ScriptedPostgres::new()
        .expect("FOR NO KEY UPDATE", ScriptedAnswer::Affected(1))
        .expect("SET stock = $2", written(Some("Electronics"), Some("electronics")));
    let service = start("products", &postgres, &redis).await;
    let changed = service.patch("/api/v1/products/2/stock", r#"{"stock": 5}"#).await.expect("an answer");
    assert_eq!((changed.status.as_u16(), &changed.body[..]), (200, PHONE.as_bytes()));
    assert_eq!(left(&redis, &keys), ["products:category:Books"]);
    assert_eq!(params(&postgres), ["[Int32Array([Some(2)])]", "[Int32(2), Int32(5)]"]);
}

#[tokio::test]
async fn a_change_that_cannot_be_made_leaves_the_cache_alone() {
    let keys = ["products:all", "products:9"];
    let redis = holding(&keys);
    let nothing = rows(COLUMNS.into_iter().chain(["folded"]), []);
    let locked = |postgres: ScriptedPostgres, products: u64| {
        postgres.expect("FOR NO KEY UPDATE", ScriptedAnswer::Affected(products))
    };
    let postgres = locked(ScriptedPostgres::new(), 0).expect("SET stock = $2", nothing);
    let postgres = locked(postgres, 1).expect("SET stock = $2", violation("23514", "products_stock_check"));
    let service = start("products", &postgres, &redis).await;
    let path = "/api/v1/products/9/stock";
    problem(&service.patch(path, r#"{"stock": 5}"#).await.expect("an answer"), 404);
    // Only if the schema and the validation disagree does the database have to refuse.
    problem(&service.patch(path, r#"{"stock": 5}"#).await.expect("an answer"), 422);
    for body in
        [r#"{"stock": -1}"#, r#"{"stock": 1.5}"#, r#"{"stock": "5"}"#, r#"{"stock": 2147483648}"#, "{}"]
    {
        let refused = service.patch(path, &body).await.expect("an answer");
        assert_eq!(pointers(&problem(&refused, 422)), ["/stock"], "{body}");
    }
    assert_eq!(left(&redis, &keys), keys);
}

const FOUND: [&str; 10] = [
    "id",
    "name",
    "description",
    "price",
    "stock",
    "category",
    "created_at",
    "rank",
    "marked_stems",
    "marked_words",
];

/// A product that was found, of this id.
fn hit(id: i32, rank: i32, marked: Option<&str>) -> Vec<Value> {
    let mut row = product("999.00", Some("Electronics"));
    row[0] = id.into();
    row.extend([rank.into(), marked.map_or(Value::Null, Into::into), Value::Null]);
    row
}

#[tokio::test]
async fn what_no_word_finds_is_looked_for_by_likeness_and_nothing_of_it_is_cached() {
    let postgres = ScriptedPostgres::new()
        .expect("search @@ asked.words", rows(FOUND, [hit(2, 607_927, Some("\u{2}Smartphone\u{3}"))]))
        .expect("search @@ asked.words", rows(FOUND, []))
        .expect("products_like($5)", rows(FOUND, [hit(2, 500_000, None)]));
    let redis = FakeRedis::new();
    let service = start("products", &postgres, &redis).await;
    let exact = service.get("/api/v1/products/search?q=gaming+phone&category=TOYS&min_price=1&in_stock=true");
    let exact = exact.await.expect("an answer");
    let found = PHONE.trim_end_matches('}');
    let body = format!(
        r#"{{"query":"gaming phone","match":"words","products":[{found},"rank":0.607927,"snippet":"<mark>Smartphone</mark>"}}],"next":null}}"#
    );
    assert_eq!(std::str::from_utf8(&exact.body), Ok(body.as_str()));
    let alike = service.get("/api/v1/products/search?q=smartfone").await.expect("an answer");
    assert_eq!(
        (&alike.json()["match"], &alike.json()["products"][0]["rank"]),
        (&json!("similarity"), &json!(0.5))
    );
    assert_eq!((exact.header("cache-status"), alike.header("link")), (None, None));
    assert_eq!(
        params(&postgres),
        [
            r#"[Text("TOYS"), Numeric("1.00"), Null, Boolean(true), Text("gaming phone"), Text("gaming "), Text("'phone':*"), Null, Null, Int32(21)]"#,
            r#"[Null, Null, Null, Boolean(false), Text("smartfone"), Text(""), Text("'smartfone':*"), Null, Null, Int32(21)]"#,
            r#"[Null, Null, Null, Boolean(false), Text("smartfone"), Null, Null, Int32(21)]"#,
        ]
    );
}

/// The question whether only the filters keep everything out.
const KNOWN: &str = "SELECT count(*) > 0 AS known";

#[tokio::test]
async fn what_only_the_filters_keep_out_is_not_looked_for_by_likeness() {
    let postgres = ScriptedPostgres::new()
        .expect("search @@ asked.words", rows(FOUND, []))
        .expect(KNOWN, rows(["known"], [vec![true.into()]]));
    let service = start("products", &postgres, &FakeRedis::new()).await;
    let answer =
        service.get("/api/v1/products/search?q=gaming+phone&category=books").await.expect("an answer");
    assert_eq!((&answer.json()["match"], &answer.json()["products"]), (&json!("words"), &json!([])));
    assert_eq!(params(&postgres)[1], r#"[Text("gaming phone"), Text("gaming "), Text("'phone':*")]"#);
}

#[tokio::test]
async fn the_next_page_of_a_search_goes_on_in_the_same_list() {
    for (sql, empty) in
        [("search @@ asked.words", None), ("products_like($5)", Some("search @@ asked.words"))]
    {
        let mut postgres = ScriptedPostgres::new();
        if let Some(empty) = empty {
            postgres =
                postgres.expect(empty, rows(FOUND, [])).expect(KNOWN, rows(["known"], [vec![false.into()]]));
        }
        let postgres = postgres
            .expect(sql, rows(FOUND, [hit(8, 700_000, None), hit(9, 700_000, None)]))
            .expect(sql, rows(FOUND, []));
        let service = start("products", &postgres, &FakeRedis::new()).await;
        let first =
            service.get("/api/v1/products/search?q=a%26b&limit=1&in_stock=true").await.expect("an answer");
        let page = first.json();
        assert_eq!(
            (page["products"].as_array().map(Vec::len), &page["products"][0]["id"]),
            (Some(1), &json!(8))
        );
        let cursor = page["next"].as_str().expect("a cursor");
        let path = format!("/api/v1/products/search?q=a%26b&limit=1&in_stock=true&cursor={cursor}");
        assert_eq!(first.header("link"), Some(format!("<{path}>; rel=\"next\"").as_str()));

        // Nothing more, and that is no reason to look elsewhere.
        let second = service.get(&path).await.expect("an answer").json();
        assert_eq!(
            (&second["match"], &second["products"], &second["next"]),
            (&page["match"], &json!([]), &json!(null))
        );
        let last = params(&postgres).pop().expect("a statement");
        assert!(last.ends_with("Int32(700000), Int32(8), Int32(2)]"), "{last}");
    }
}

#[tokio::test]
async fn facets_are_those_of_the_list_that_is_shown() {
    let facets = || {
        let row = |category: Option<&str>, count: i64| {
            vec![category.map_or(Value::Null, Into::into), count.into(), Value::Null, Value::Null]
        };
        let prices = vec![Value::Null, Value::Null, numeric("1.50"), numeric("999.00")];
        rows(["category", "count", "lowest", "highest"], [row(Some("Toys"), 2), row(None, 1), prices])
    };
    let postgres = ScriptedPostgres::new()
        .expect("search @@ asked.words", rows(FOUND, [hit(2, 1, None)]))
        .expect("GROUP BY lower(category)", facets())
        .expect("search @@ asked.words", rows(FOUND, []))
        .expect("products_like($5)", rows(FOUND, [hit(2, 1, None)]))
        .expect("products_like($5) AS alike JOIN products ON products.id = alike.id WHERE (NOT $4", facets());
    let service = start("products", &postgres, &FakeRedis::new()).await;
    for q in ["phone", "phnoe"] {
        let answer =
            service.get(&format!("/api/v1/products/search?q={q}&facets=true")).await.expect("an answer");
        let facets = r#""facets":{"categories":[{"category":"Toys","count":2},{"category":null,"count":1}],"price":{"min":1.50,"max":999.00}}"#;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(body.contains(facets), "{body}");
    }
}

#[tokio::test]
async fn a_search_that_cannot_be_understood_is_refused_before_anyone_is_asked() {
    let postgres = ScriptedPostgres::new();
    let service = start("products", &postgres, &FakeRedis::new()).await;
    let long = format!("q={}", "x".repeat(1_001));
    for (query, parameter) in [
        ("", "q"),
        ("q=%00", "q"),
        ("q=%FF", "q"),
        (&*long, "q"),
        ("q=a&limit=0", "limit"),
        ("q=a&cursor=5", "cursor"),
    ] {
        let refused = service.get(&format!("/api/v1/products/search?{query}")).await.expect("an answer");
        assert_eq!(problem(&refused, 400)["errors"][0]["parameter"], parameter, "{query}");
    }
    assert!(postgres.asked().is_empty());
}

#[tokio::test]
async fn stock_that_goes_back_takes_the_product_and_its_lists_out_of_the_cache() {
    let keys = [
        "products:all",
        "products:2",
        "products:category:Electronics",
        "products:3",
        "products:category:Books",
    ];
    let redis = holding(&keys);
    const MARK: &str = "INSERT INTO reservations (order_id, state) VALUES ($1, 'released')";
    const LOCK: &str = "FOR NO KEY UPDATE";
    let columns = ["id", "quantity", "folded", "moved"];
    let line = |moved: bool| vec![2.into(), 5.into(), "electronics".into(), moved.into()];
    let postgres = ScriptedPostgres::new()
        .expect(MARK, ScriptedAnswer::Affected(1))
        .expect(LOCK, ScriptedAnswer::Affected(0))
        .expect("INSERT INTO stock_movements", rows(columns, [line(true)]))
        .expect(MARK, ScriptedAnswer::Affected(1))
        .expect(LOCK, ScriptedAnswer::Affected(0))
        .expect("INSERT INTO stock_movements", rows(columns, [line(false)]))
        .expect(MARK, ScriptedAnswer::Affected(1))
        .expect(LOCK, ScriptedAnswer::Affected(0))
        .expect("INSERT INTO stock_movements", rows(columns, []))
        .expect(MARK, Error::Timeout);
    let service = start("products", &postgres, &redis).await;
    let release = || service.call(http::Method::DELETE, "/internal/reservations/7");
    let first = release().await.expect("an answer");
    assert_eq!(first.json(), json!({ "order_id": 7, "returned": [{ "product_id": 2, "quantity": 5 }] }));
    assert_eq!(left(&redis, &keys), ["products:3", "products:category:Books"]);

    // The second time nothing moves, and that is no failure. What was cached goes all the
    // same: if the first had lost its reply, nobody would have taken it out.
    for key in ["products:2", "products:category:Electronics"] {
        redis.put(key, "{}", None);
    }
    let second = release().await.expect("an answer");
    assert_eq!((second.status.as_u16(), &second.json()["returned"]), (200, &json!([])));
    assert_eq!(left(&redis, &keys), ["products:3", "products:category:Books"]);
    // An order that has taken nothing touches nothing.
    redis.put("products:2", "{}", None);
    let nothing = release().await.expect("an answer");
    assert_eq!((nothing.status.as_u16(), &nothing.json()["returned"]), (200, &json!([])));
    assert!(redis.value("products:2").is_some());
    redis.put("products:all", "[]", None);
    problem(&release().await.expect("an answer"), 504);
    assert_eq!(redis.value("products:all"), None, "it may have gone back in spite of that");
}

#[tokio::test]
async fn stock_is_reserved_or_the_first_product_that_lacks_it_is_told() {
    const LOCK: &str = "ORDER BY id FOR NO KEY UPDATE";
    const RESERVE: &str = "INSERT INTO reservations";
    const STATE: &str = "SELECT state FROM reservations";
    let columns = ["id", "stock", "folded", "taken"];
    let found = |taken: bool| {
        let product = |id: i32, stock: i32| vec![id.into(), stock.into(), "electronics".into(), taken.into()];
        rows(columns, [product(2, 5), product(3, 4)])
    };
    let locked = || ScriptedPostgres::new().expect(LOCK, ScriptedAnswer::Affected(2));
    let state = |state: &[&str]| rows(["state"], state.iter().map(|state| vec![(*state).into()]));
    let body = json!({ "items": [{ "product_id": 3, "quantity": 1 }, { "product_id": 2, "quantity": 6 }] });
    let reserve = async |postgres: ScriptedPostgres, redis: &FakeRedis| {
        let service = start("products", &postgres, redis).await;
        let call = service.call(http::Method::PUT, "/internal/reservations/7").json(&body);
        (call.await.expect("an answer"), params(&postgres))
    };

    let redis = holding(&["products:all", "products:2", "products:3", "products:4"]);
    let (held, asked) = reserve(locked().expect(RESERVE, found(true)), &redis).await;
    assert_eq!((held.status.as_u16(), held.json()), (200, json!({ "order_id": 7, "state": "held" })));
    let locks = "[Int32Array([Some(3), Some(2)])]";
    assert_eq!(asked, [locks, "[Int32(7), Int32Array([Some(3), Some(2)]), Int32Array([Some(1), Some(6)])]"]);
    let keys = ["products:all", "products:2", "products:3", "products:4"];
    assert_eq!(left(&redis, &keys), ["products:4"]);

    let short = locked().expect(RESERVE, found(false)).expect(STATE, state(&[]));
    let short = problem(&reserve(short, &redis).await.0, 409);
    let told = (&short["product"], &short["requested"], &short["available"]);
    assert_eq!(told, (&json!(2), &json!(6), &json!(5)));

    // Who comes again has it; who was released has it not, and is not told of a shortage.
    for (known, status) in [("held", 200), ("confirmed", 200), ("released", 409)] {
        redis.put("products:2", "{}", None);
        let again = locked().expect(RESERVE, found(false)).expect(STATE, state(&[known]));
        let (answer, _) = reserve(again, &redis).await;
        assert_eq!((answer.status.as_u16(), answer.json()["product"].is_null()), (status, true), "{known}");
        // The first time may have lost its reply before anything left the cache.
        assert_eq!(redis.value("products:2").is_none(), status == 200, "{known}");
    }
}

#[tokio::test]
async fn what_is_reserved_is_confirmed_unless_it_was_released() {
    for (state, status) in
        [(Some("held"), 200), (Some("confirmed"), 200), (Some("released"), 409), (None, 404)]
    {
        let found = rows(["state"], state.map(|state| vec![state.into()]));
        let postgres = ScriptedPostgres::new().expect("SET state = 'confirmed'", found);
        let service = start("products", &postgres, &FakeRedis::new()).await;
        let confirm = service.call(http::Method::PUT, "/internal/reservations/7/confirmation");
        assert_eq!(confirm.await.expect("an answer").status, status, "{state:?}");
    }
}

#[tokio::test]
async fn a_write_of_unknown_outcome_still_takes_what_it_may_have_changed_out_of_the_cache() {
    let keys = ["products:all", "products:2", "products:category:Books"];
    for failure in [away().into(), Error::Timeout.into(), refused("08006")] {
        let redis = holding(&keys);
        let postgres = ScriptedPostgres::new()
            .expect("FOR NO KEY UPDATE", ScriptedAnswer::Affected(1))
            .expect("SET stock = $2", failure)
            .expect("INSERT INTO products", Error::Timeout);
        let service = start("products", &postgres, &redis).await;
        let failed = service.patch("/api/v1/products/2/stock", r#"{"stock": 5}"#).await.expect("an answer");
        assert!(failed.status.is_server_error(), "{failed:?}");
        assert_eq!(left(&redis, &keys), ["products:category:Books"]);
        let pen = json!({ "name": "Pen", "price": 1, "category": "books" });
        problem(&service.post(LIST, &pen).await.expect("an answer"), 504);
        assert!(left(&redis, &keys).is_empty());
    }
}

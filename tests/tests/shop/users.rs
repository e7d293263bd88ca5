//! `/api/v1/users`.

use serde_json::json;
use wasmyard_tests::{Visitor, at_once, on_both};

on_both!(
    users_are_listed_read_and_made,
    an_id_that_no_user_can_have_is_not_found,
    every_fault_of_a_user_is_named_in_one_answer,
    a_name_or_an_address_that_is_taken_is_a_conflict_that_names_the_field,
    of_fifty_equal_creates_at_once_one_wins_and_fifty_different_ones_all_do,
);

async fn users_are_listed_read_and_made(shop: &Visitor) {
    let users = shop.get("/api/v1/users").await;
    assert_eq!(users.status, 200);
    assert_eq!(users.header("content-type"), Some("application/json"));
    let names: Vec<_> =
        users.json().as_array().expect("an array").iter().map(|u| u["username"].clone()).collect();
    assert_eq!(names, ["alice", "bob", "charlie", "diana"]);

    let alice = shop.get("/api/v1/users/1").await;
    assert_eq!(alice.status, 200);
    assert_eq!(alice.json(), users.json()[0]);
    // The order of the members is the lab's.
    let start = r#"{"id":1,"username":"alice","email":"alice@example.com","created_at":"20"#;
    assert!(alice.text().starts_with(start) && alice.text().ends_with("Z\"}"), "{alice:?}");

    let eddie = json!({ "username": "eddie", "email": "eddie@example.com" });
    let made = shop.post("/api/v1/users", &eddie).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.header("location"), Some("/api/v1/users/5"));
    assert_eq!((&made.json()["id"], &made.json()["username"]), (&json!(5), &json!("eddie")));
    let read = shop.get("/api/v1/users/5").await;
    assert_eq!(read.body, made.body);
    assert_eq!(shop.get("/api/v1/users").await.json()[4], made.json());

    // Letters and digits of any script, and the longest of each.
    let longest = format!("{}@{}.example", "l".repeat(64), "d".repeat(27));
    assert_eq!(longest.len(), 100);
    for (username, email) in
        [("é".repeat(50), longest), ("李雷.A_b-9".to_owned(), "o'brien+x@sub.example.ie".to_owned())]
    {
        let made = shop.post("/api/v1/users", &json!({ "username": username, "email": email })).await;
        assert_eq!(made.status, 201, "{made:?}");
        assert_eq!((&made.json()["username"], &made.json()["email"]), (&json!(username), &json!(email)));
    }
}

async fn an_id_that_no_user_can_have_is_not_found(shop: &Visitor) {
    for id in [
        "5",
        "0",
        "-1",
        "+1",
        "01",
        "1.0",
        "1e0",
        "abc",
        "2147483647",
        "2147483648",
        "99999999999999999999",
        "%31x",
        "1%20",
        "ALL",
    ] {
        let problem = shop.get(&format!("/api/v1/users/{id}")).await.problem(404);
        assert_eq!(problem["type"], "urn:wasmyard:problem:not-found", "{id}");
        assert_eq!(problem["instance"], format!("/api/v1/users/{id}"));
    }
}

async fn every_fault_of_a_user_is_named_in_one_answer(shop: &Visitor) {
    let long = "a".repeat(51);
    let long_mail = format!("{}@{}.example", "l".repeat(64), "d".repeat(28));
    let ok = "a@example.com";
    for (body, faults) in [
        (json!({}), vec!["/username", "/email"]),
        (json!({ "username": null, "email": null }), vec!["/username", "/email"]),
        (json!({ "username": 7, "email": ["x"] }), vec!["/username", "/email"]),
        (json!({ "username": "", "email": "" }), vec!["/username", "/email"]),
        (json!({ "username": "a b", "email": "nobody" }), vec!["/username", "/email"]),
        (json!({ "username": long, "email": ok }), vec!["/username"]),
        (json!({ "username": "a@b", "email": ok }), vec!["/username"]),
        (json!({ "username": "ann", "email": long_mail }), vec!["/email"]),
        (json!({ "username": "ann", "email": "a@localhost" }), vec!["/email"]),
        (json!({ "username": "ann", "email": ok, "role": "admin" }), vec!["/role"]),
        (json!({ "id": 1, "usernam": "ann", "email": "x" }), vec!["/email", "/id", "/username", "/usernam"]),
    ] {
        let mut named = shop.post("/api/v1/users", &body).await.faults(422);
        let mut faults = faults;
        named.sort();
        faults.sort_unstable();
        assert_eq!(named, faults, "{body}");
    }
    let repeated = br#"{"username": "ann", "username": "bob", "email": "a@example.com"}"#;
    let json = [("content-type", "application/json")];
    let answer = shop.send(http::Method::POST, "/api/v1/users", &json, repeated).await;
    assert_eq!(answer.faults(422), ["/username"]);
    assert_eq!(shop.sql("SELECT count(*) FROM users").await, "4");
}

async fn a_name_or_an_address_that_is_taken_is_a_conflict_that_names_the_field(shop: &Visitor) {
    for (field, value, body) in [
        ("username", "alice", json!({ "username": "alice", "email": "newalice@example.com" })),
        ("email", "alice@example.com", json!({ "username": "alice2", "email": "alice@example.com" })),
    ] {
        let answer = shop.post("/api/v1/users", &body).await;
        assert_eq!(answer.faults(409), [format!("/{field}")]);
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains(&format!("duplicate {field}")) && detail.contains(value), "{detail}");
    }
    // What was refused has taken nothing.
    assert_eq!(
        shop.post("/api/v1/users", &json!({ "username": "alice2", "email": "a2@example.com" })).await.status,
        201
    );
}

async fn of_fifty_equal_creates_at_once_one_wins_and_fifty_different_ones_all_do(shop: &Visitor) {
    let create = |username: String, email: String| {
        let shop = shop.clone();
        async move { shop.post("/api/v1/users", &json!({ "username": username, "email": email })).await }
    };

    let answers =
        at_once((0..50).map(|n| create("same".into(), format!("{n}@example.com")))).join_all().await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!((won.len(), lost.len()), (1, 49));
    for answer in lost {
        assert_eq!(answer.faults(409), ["/username"]);
    }

    let answers = at_once((0..50).map(|n| create(format!("other{n}"), format!("other{n}@example.com"))))
        .join_all()
        .await;
    for answer in &answers {
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    assert_eq!(shop.sql("SELECT count(*), count(DISTINCT username) FROM users").await, "55|55");
    assert_eq!(shop.get("/api/v1/users").await.json().as_array().map(Vec::len), Some(55));
}

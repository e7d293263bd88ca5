//! Lists, page by page: the same rules for all three services.

use wasmyard_tests::{Answer, Shop, Visitor, on_both};

on_both!(the_links_lead_through_every_item_once_and_in_order, a_page_that_cannot_be_is_refused_by_name,);

fn ids(answer: &Answer) -> Vec<i64> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let list = answer.json();
    list.as_array().expect("an array").iter().map(|item| item["id"].as_i64().expect("an id")).collect()
}

/// Where `Link` says that the next page is.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    let (target, relation) = link.strip_prefix('<').and_then(|rest| rest.split_once('>')).expect("a Link");
    assert_eq!(relation, "; rel=\"next\"");
    Some(target.to_owned())
}

/// All ids from a first page on, and how many each page had.
async fn follow(shop: &Visitor, first: &str) -> (Vec<i64>, Vec<usize>) {
    let (mut all, mut sizes) = (Vec::new(), Vec::new());
    let mut page = Some(first.to_owned());
    while let Some(path) = page {
        let answer = shop.get(&path).await;
        let ids = ids(&answer);
        sizes.push(ids.len());
        all.extend(ids);
        page = next(&answer);
        assert!(sizes.len() < 1_000, "the pages do not end: {path}");
    }
    (all, sizes)
}

async fn with_rows(shop: &Visitor, count: i32) {
    shop.sql(&format!(
        "INSERT INTO users (username, email) SELECT 'u' || n, n || '@example.com' FROM generate_series(5, {count}) n;
         INSERT INTO products (name, price, category)
             SELECT 'p' || n, n, CASE WHEN n % 2 = 0 THEN 'Games & Toys' END FROM generate_series(11, {count}) n;
         INSERT INTO orders (user_id, product_id, quantity, total_price)
             SELECT n, n, 1, n FROM generate_series(9, {count}) n"
    ))
    .await;
}

async fn the_links_lead_through_every_item_once_and_in_order(shop: &Visitor) {
    with_rows(shop, 1_250).await;
    let all: Vec<i64> = (1..=1_250).collect();
    for service in ["users", "products", "orders"] {
        let list = format!("/api/v1/{service}");
        let (ids, sizes) = follow(shop, &list).await;
        assert_eq!(ids, all, "{service}");
        assert_eq!(sizes, [vec![100; 12], vec![50]].concat(), "{service}");

        assert_eq!(follow(shop, &format!("{list}?limit=1000")).await, (all.clone(), vec![1_000, 250]));
        assert_eq!(follow(shop, &format!("{list}?limit=625")).await, (all.clone(), vec![625, 625]));
        // The plain list once more: from the cache, with the same link.
        let (cold, hit) = (shop.get(&list).await, shop.get(&list).await);
        assert_eq!((next(&hit), &hit.body), (next(&cold), &cold.body));
        assert!(hit.header("cache-status").is_some_and(|status| status.contains("hit")), "{hit:?}");
        // Only the plain list is cached.
        assert_eq!(shop.get(&format!("{list}?limit=100")).await.header("cache-status"), None);
    }

    let even: Vec<i64> = (12..=1_250).step_by(2).collect();
    let (ids, sizes) = follow(shop, "/api/v1/products?category=games+%26+TOYS&limit=300").await;
    assert_eq!((ids, sizes), (even, vec![300, 300, 20]));
}

async fn a_page_that_cannot_be_is_refused_by_name(shop: &Visitor) {
    with_rows(shop, 20).await;
    for service in ["users", "products", "orders"] {
        for limit in
            ["0", "1001", "-1", "ten", "", "1.0", "1e2", "99999999999999999999", "%31%30%00", "10%20"]
        {
            let answer = shop.get(&format!("/api/v1/{service}?limit={limit}")).await;
            assert_eq!(answer.faults(400), ["limit"], "{service} {limit}");
        }
        for cursor in ["", "5", "abc", "AAAAAAA", "%00", "'%20OR%201=1--", &"A".repeat(5_000)] {
            let answer = shop.get(&format!("/api/v1/{service}?cursor={cursor}")).await;
            assert_eq!(answer.faults(400), ["cursor"], "{service} {cursor}");
        }
        let answer = shop.get(&format!("/api/v1/{service}?limit=5&limit=6")).await;
        assert_eq!(answer.faults(400), ["limit"]);
        assert_eq!(ids(&shop.get(&format!("/api/v1/{service}?limit=1")).await), [1]);
        assert_eq!(ids(&shop.get(&format!("/api/v1/{service}?limit=1000")).await).len(), 20);
        // What the service does not know is not its concern.
        assert_eq!(ids(&shop.get(&format!("/api/v1/{service}?utm_source=x")).await).len(), 20);
    }
}

#[tokio::test]
async fn the_newest_orders_come_first_for_those_who_ask_so() {
    let shop = Shop::start().await;
    with_rows(&shop, 250).await;
    let newest: Vec<i64> = (1..=250).rev().collect();
    let (ids, sizes) = follow(&shop, "/api/v1/orders?sort=newest").await;
    assert_eq!((&ids, sizes), (&newest, vec![100, 100, 50]));
    assert_eq!(follow(&shop, "/api/v1/orders?sort=newest&limit=125").await, (newest, vec![125, 125]));

    let alice = shop.login("alice").await;
    let own = alice.get(&shop, "/api/v1/orders?sort=newest").await;
    assert_eq!(self::ids(&own), [2, 1]);
    let problem = shop.get("/api/v1/orders?sort=price").await.problem(400);
    assert_eq!(problem["errors"][0]["parameter"], "sort");
}

//! More buyers than there is stock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wasmyard_tests::{Books, Shop, at_once};

use crate::{long, seed};

/// Pieces of each product, and those who want one.
const STOCK: i64 = 100;
const BUYERS: usize = 1_000;
/// Between two attempts of one who was told that the host is busy.
const PAUSE: Duration = Duration::from_millis(200);
/// What they are after.
const PRODUCTS: [i32; 3] = [2, 5, 8];

/// One buyer: asks until there is an answer for good, always with the same key, as a client
/// does whose host is busy.
async fn buy(client: reqwest::Client, url: String, key: String, lines: Vec<i32>) -> (u16, Value) {
    let items: Vec<_> = lines.iter().map(|product| json!({ "product_id": product, "quantity": 1 })).collect();
    let order = json!({ "user_id": 1, "items": items });
    loop {
        let sent = client.post(&url).json(&order).header("idempotency-key", &key).send().await;
        let Ok(answer) = sent else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (status, retry) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
        let body: Value = answer.json().await.unwrap_or_default();
        match status {
            201 => return (status, body),
            409 if !retry => return (status, body),
            409 | 500.. => tokio::time::sleep(PAUSE).await,
            _ => panic!("{status}: {body}"),
        }
    }
}

async fn wave(shop: &Arc<Shop>, name: &str, wishes: Vec<Vec<i32>>) -> BTreeMap<u16, usize> {
    let clients: Vec<_> = (0..20).map(|_| shop.new_client()).collect();
    let url = shop.url("/api/v1/orders");
    let buyers = wishes.into_iter().enumerate().map(|(buyer, wish)| {
        buy(clients[buyer % clients.len()].clone(), url.clone(), format!("{name}-{buyer}"), wish)
    });
    let mut statuses = BTreeMap::new();
    for (status, answer) in at_once(buyers.collect::<Vec<_>>()).join_all().await {
        if status == 409 {
            let (requested, available) = (answer["requested"].as_i64(), answer["available"].as_i64());
            assert!(answer["product"].is_number() && requested > available, "{answer}");
        }
        *statuses.entry(status).or_default() += 1;
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_buyers_get_what_there_is_and_nobody_waits_for_each_other() {
    let mut random = fastrand::Rng::with_seed(seed());
    let shop = Arc::new(Shop::start().await);
    let redis = shop.redis.clone().expect("a Redis of its own");
    for run in 0..if long() { 20 } else { 2 } {
        let begun = Instant::now();
        let ids = PRODUCTS.map(|id| id.to_string()).join(", ");
        // In the order of the ids, as everybody does: a statement of the last run, whose
        // request had no more time, may be under way still.
        shop.sql(&format!(
            "WITH locked AS (SELECT id FROM products WHERE id IN ({ids}) ORDER BY id FOR NO KEY UPDATE)
             UPDATE products SET stock = {STOCK} FROM locked WHERE products.id = locked.id"
        ))
        .await;
        let books = Books::open(&shop.database).await;
        let before = books.read().await;

        let statuses = if run % 2 == 0 {
            // All want all three, each in an order of their own.
            let mut wish = || {
                let mut wish = PRODUCTS.to_vec();
                random.shuffle(&mut wish);
                wish
            };
            let wishes = (0..BUYERS).map(|_| wish()).collect();
            let statuses = wave(&shop, &format!("run-{run}"), wishes).await;
            let expected = [(201, 100), (409, BUYERS - 100)];
            assert_eq!(statuses, BTreeMap::from(expected));
            statuses
        } else {
            // Some of them, in any order. Who wanted two may have left one, so there are
            // others who take that.
            let mut wish = || {
                let mut wish = PRODUCTS.to_vec();
                random.shuffle(&mut wish);
                wish.truncate(random.usize(1..=PRODUCTS.len()));
                wish
            };
            let wishes = (0..BUYERS).map(|_| wish()).collect();
            let statuses = wave(&shop, &format!("run-{run}"), wishes).await;
            books.settle().await;
            let rest = PRODUCTS.iter().flat_map(|product| vec![vec![*product]; 100]).collect();
            wave(&shop, &format!("run-{run}-rest"), rest).await;
            statuses
        };
        books.agree().await;
        let after = books.read().await;
        for product in PRODUCTS {
            assert_eq!(after[&product].sold - before[&product].sold, STOCK, "product {product}");
            assert_eq!((after[&product].stock, after[&product].reserved), (0, 0), "product {product}");
        }
        assert_eq!(books.deadlocks().await, 0, "{}", books.server_log().await);
        books.told(&redis).await;
        eprintln!("run {run}: {BUYERS} buyers, {statuses:?}, {:?}", begun.elapsed());
    }
}

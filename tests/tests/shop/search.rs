//! `/api/v1/products/search`.

use std::fmt::Write as _;
use std::time::Instant;

use http::Method;
use products::search::sql;
use serde_json::{Value, json};
use wasmyard::testing::servers::TestPostgres;
use wasmyard_tests::{Answer, Shop, Wire};

const PATH: &str = "/api/v1/products/search";

/// Text as it may stand in a query, every byte of it encoded.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let _ = write!(encoded, "%{byte:02X}");
        encoded
    })
}

/// What a search answers, `query` being the parameters.
async fn search(shop: &Shop, query: &str) -> Value {
    let answer = shop.get(&format!("{PATH}?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    answer.json()
}

fn ids(found: &Value) -> Vec<i64> {
    let products = found["products"].as_array().expect("an array");
    products.iter().map(|product| product["id"].as_i64().expect("an id")).collect()
}

/// The ids of what `q` finds by its words.
async fn words(shop: &Shop, q: &str) -> Vec<i64> {
    let found = search(shop, &format!("q={}", encoded(q))).await;
    let all = if found["match"] == "words" { ids(&found) } else { Vec::new() };
    assert_eq!(found["query"], q);
    all
}

#[tokio::test]
async fn products_are_found_by_their_words_in_any_form() {
    let shop = Shop::start().await;
    shop.sql(
        "INSERT INTO products (name, description, price, category) VALUES
             ('Café Crème', 'Größe S', 4.50, 'Food'),
             (E'Cafe\\u0301 Noir', NULL, 4.50, 'Food'),
             ('Sleeve', 'Keeps a laptop safe', 19.00, 'Electronics'),
             ('USB/HDMI hub', 'For Node.js_developers@home', 39.00, 'Electronics')",
    )
    .await;
    for (q, found) in [
        // The name weighs more than the description.
        ("laptop", vec![1, 13]),
        ("LAPTOPS", vec![1, 13]),
        ("wireless noise", vec![3]),
        // The last word may still be growing, also beyond its stem.
        ("lap", vec![1, 13]),
        ("yoga m", vec![9]),
        ("runnin", vec![8]),
        ("runn sho", vec![]),
        // Accents on either side, composed or not.
        ("cafe", vec![11, 12]),
        ("CAFÉ", vec![11, 12]),
        ("cafe\u{301} cre", vec![11]),
        ("grosse", vec![11]),
        // What the parser would take for a file, a host or an address.
        ("hdmi", vec![14]),
        ("usb/hdmi", vec![14]),
        ("node.js", vec![14]),
        ("developers", vec![14]),
        // The language of the search.
        ("\"mechanical keyboard\"", vec![4]),
        ("\"keyboard mechanical\"", vec![]),
        ("laptop -sleeve", vec![1]),
        ("yoga or knife", vec![6, 9]),
        ("yoga or kni", vec![6, 9]),
        ("xylophone set or yoga m", vec![9]),
        ("\"yoga or kni", vec![]),
        ("laptop xylophone", vec![]),
    ] {
        assert_eq!(words(&shop, q).await, found, "{q}");
    }

    let found = search(&shop, "q=laptop").await;
    let [laptop, sleeve] = [&found["products"][0], &found["products"][1]];
    let rank = |product: &Value| product["rank"].as_f64().expect("a rank");
    assert!(rank(laptop) > rank(sleeve) && rank(sleeve) > 0.0 && rank(laptop) < 1.0, "{found}");
    assert_eq!(laptop["snippet"], "<mark>Laptop</mark> – 14-inch <mark>laptop</mark> with 16 GB of memory");
    assert_eq!(sleeve["snippet"], "Sleeve – Keeps a <mark>laptop</mark> safe");
    assert_eq!(found["next"], Value::Null);

    // Beside rank and snippet a product is what it is elsewhere, to the cent.
    let item = shop.get("/api/v1/products/1").await.json();
    for (member, value) in item.as_object().expect("an object") {
        assert_eq!(&laptop[member], value, "{member}");
    }
    let text = shop.get(&format!("{PATH}?q=smartphone")).await;
    assert!(text.text().contains(r#""price":999.00,"#), "{text:?}");
    // A word that is still being typed is marked as well.
    let typing = search(&shop, "q=runnin").await;
    let snippet = typing["products"][0]["snippet"].as_str().expect("a snippet");
    assert!(snippet.starts_with("<mark>Running</mark> Shoes"), "{snippet}");
}

#[tokio::test]
async fn where_no_word_is_found_names_that_look_alike_are_and_the_answer_says_so() {
    let shop = Shop::start().await;
    shop.sql("INSERT INTO products (name, price) VALUES ('Crème Brûlée <Torch>', 30)").await;
    for (q, found) in [
        ("smartfone", 2),
        ("laptpo", 1),
        ("hedphones", 3),
        ("keybord", 4),
        ("cofee makr", 5),
        ("creme brulet", 11),
    ] {
        let answer = search(&shop, &format!("q={}", encoded(q))).await;
        assert_eq!((&answer["match"], ids(&answer).first()), (&json!("similarity"), Some(&found)), "{q}");
        let rank = answer["products"][0]["rank"].as_f64().expect("a rank");
        assert!(rank > 0.45 && rank < 1.0, "{q}: {answer}");
    }
    let torch = search(&shop, "q=creme+brulet").await;
    assert_eq!(torch["products"][0]["snippet"], "Crème Brûlée &lt;Torch&gt;");
    // So far of a name is compared as any has letters, and not what follows.
    let long = search(&shop, &format!("q={}", encoded(&format!("smartfone {}", "zq".repeat(400))))).await;
    assert_eq!(long["match"], "similarity");
    // The filters hold here too.
    assert_eq!(ids(&search(&shop, "q=smartfone&max_price=998.99").await), [0_i64; 0]);
    let nothing = search(&shop, "q=zzzzzzzz&facets=true").await;
    assert_eq!((&nothing["match"], ids(&nothing).len()), (&json!("similarity"), 0));
    assert_eq!(nothing["facets"], json!({ "categories": [], "price": null }));
}

#[tokio::test]
async fn what_the_filters_keep_out_was_found_by_its_words_all_the_same() {
    let shop = Shop::start().await;
    // The laptop's description has the word, and the names of books look like none of it.
    let found = search(&shop, "q=memory&category=Books&facets=true").await;
    assert_eq!((&found["match"], ids(&found).len()), (&json!("words"), 0), "{found}");
    assert_eq!(found["facets"]["categories"], json!([{ "category": "Electronics", "count": 1 }]));
    assert_eq!(found["facets"]["price"], Value::Null, "no price is left in this category");
    for filter in ["max_price=1", "min_price=100000", "category=nothing"] {
        let found = search(&shop, &format!("q=laptop&{filter}")).await;
        assert_eq!((&found["match"], ids(&found).len()), (&json!("words"), 0), "{filter}: {found}");
    }
    // No product has this one, in whatever category.
    let alike = search(&shop, "q=smartfone&category=electronics&facets=true").await;
    assert_eq!((&alike["match"], ids(&alike)), (&json!("similarity"), vec![2]));
    assert_eq!(alike["facets"]["categories"], json!([{ "category": "Electronics", "count": 1 }]));
}

#[tokio::test]
async fn a_category_is_found_in_either_case_of_any_script() {
    let shop = Shop::start().await;
    for (name, category, other) in [
        ("Ruban", "Élite", "éLITE"),
        ("Роман", "Книги", "КНИГИ"),
        ("Χάρτα", "ΟΔΟΣ", "οδοσ"),
        ("Lokum", "İKRAM", "ikram"),
    ] {
        let product = json!({ "name": name, "price": 1, "category": category });
        assert_eq!(shop.post("/api/v1/products", &product).await.status, 201);
        for written in [category, other] {
            let list = shop.get(&format!("/api/v1/products?category={}", encoded(written))).await.json();
            assert_eq!(
                (list[0]["name"].as_str(), list[1].is_null()),
                (Some(name), true),
                "{written}: {list}"
            );
            let query = format!("q={}&category={}", encoded(&name.to_uppercase()), encoded(written));
            let found = search(&shop, &query).await;
            assert_eq!((&found["match"], ids(&found).len()), (&json!("words"), 1), "{written}: {found}");
        }
    }
}

#[tokio::test]
async fn a_database_that_knows_the_letters_of_ascii_alone_is_warned_of() {
    assert_eq!(Shop::start().await.host.warnings(), [""; 0]);
    let server = TestPostgres::shared();
    server.psql("postgres", "CREATE DATABASE plain_c TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
    let shop = Shop::builder().postgres(server.url("plain_c")).start().await;
    let [warning] = shop.host.warnings() else { panic!("{:?}", shop.host.warnings()) };
    assert!(warning.contains("lower('É')") && warning.contains("C.UTF-8"), "{warning}");
}

/// Products whose name has "gadget" in it, in 3 categories, every third one sold out.
async fn with_gadgets(shop: &Shop, count: i32) {
    shop.sql(&format!(
        "INSERT INTO products (name, description, price, stock, category)
         SELECT 'Gadget ' || n, CASE WHEN n % 2 = 0 THEN 'A gadget' END, n, n % 3,
                (ARRAY['Toys', 'TOYS', 'Tools', NULL])[n % 4 + 1]
         FROM generate_series(1, {count}) n"
    ))
    .await;
}

#[tokio::test]
async fn filters_narrow_and_facets_say_what_they_would_leave() {
    let shop = Shop::start().await;
    with_gadgets(&shop, 40).await;
    let all = |query: &'static str| {
        let shop = &shop;
        async move { ids(&search(shop, &format!("q=gadget&limit=100{query}")).await).len() }
    };
    assert_eq!(all("").await, 40);
    assert_eq!(all("&category=&min_price=&max_price=&in_stock=&facets=").await, 40);
    assert_eq!(all("&category=toys").await, 20);
    assert_eq!(all("&category=TOOLS").await, 10);
    assert_eq!(all("&category=nothing").await, 0);
    assert_eq!(all("&min_price=31").await, 10);
    assert_eq!(all("&max_price=10.00").await, 10);
    assert_eq!(all("&min_price=10&max_price=10").await, 1);
    assert_eq!(all("&in_stock=true").await, 27);
    assert_eq!(all("&in_stock=false").await, 40);
    assert_eq!(all("&category=tools&min_price=20&in_stock=true").await, 4);

    let facets = search(&shop, "q=gadget&facets=true&limit=1").await["facets"].clone();
    let categories = json!([
        { "category": "TOYS", "count": 20 },
        { "category": "Tools", "count": 10 },
        { "category": null, "count": 10 },
    ]);
    assert_eq!(facets, json!({ "categories": categories, "price": { "min": 1.00, "max": 40.00 } }));
    // Each one leaves its own filter out, and keeps the others.
    let facets = search(&shop, "q=gadget&facets=true&category=tools&max_price=20").await["facets"].clone();
    let categories = json!([
        { "category": "TOYS", "count": 10 },
        { "category": "Tools", "count": 5 },
        { "category": null, "count": 5 },
    ]);
    assert_eq!(facets, json!({ "categories": categories, "price": { "min": 2.00, "max": 38.00 } }));
    assert!(search(&shop, "q=gadget").await.get("facets").is_none());
}

/// Where `Link` says that the next page is.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    let target = link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
    Some(target.expect("a Link").to_owned())
}

#[tokio::test]
async fn the_pages_have_every_product_once_and_by_rank() {
    let shop = Shop::start().await;
    // Two ranks, each shared by many; and another list of the same, by likeness.
    with_gadgets(&shop, 60).await;
    for (q, matching) in [("gadget", "words"), ("gadgte", "similarity")] {
        for limit in [1, 7, 30, 60, 61] {
            let mut page = Some(format!("{PATH}?q={q}&limit={limit}&min_price=1"));
            let (mut all, mut pages) = (Vec::new(), 0);
            while let Some(path) = page {
                let answer = shop.get(&path).await;
                let found = answer.json();
                assert_eq!((answer.status.as_u16(), &found["match"]), (200, &json!(matching)), "{answer:?}");
                let ranked = found["products"].as_array().expect("an array").iter();
                all.extend(ranked.map(|product| (product["rank"].as_f64(), product["id"].as_i64())));
                page = next(&answer);
                assert_eq!(page.is_some(), found["next"].is_string(), "{found}");
                pages += 1;
                assert!(pages <= 60, "the pages do not end");
            }
            assert_eq!(pages, 60_usize.div_ceil(limit), "{q} {limit}");
            let mut sorted = all.clone();
            sorted.sort_by(|a, b| b.0.partial_cmp(&a.0).expect("numbers").then(a.1.cmp(&b.1)));
            sorted.dedup();
            assert_eq!(all, sorted, "{q} {limit}: by rank, then by id, none twice");
            assert_eq!(all.len(), 60, "{q} {limit}");
        }
    }

    // A place keeps its meaning while the list grows and shrinks around it.
    let first = shop.get(&format!("{PATH}?q=gadget&limit=10")).await;
    let (seen, rest) = (ids(&first.json()), next(&first).expect("a next page"));
    shop.sql(&format!("DELETE FROM products WHERE id = {}", seen[9])).await;
    shop.sql("INSERT INTO products (name, description, price) VALUES ('gadget gadget gadget', 'gadget', 1)")
        .await;
    let second = ids(&shop.get(&format!("{rest}&limit=100").replace("limit=10&", "")).await.json());
    assert_eq!(second.len(), 50);
    assert!(second.iter().all(|id| !seen.contains(id)), "{seen:?} {second:?}");
}

#[tokio::test]
async fn a_snippet_is_safe_in_html_whatever_a_product_is_called() {
    let shop = Shop::start().await;
    let hostile = [
        ("<script>alert(1)</script>", "</mark><script>alert(2)</script>"),
        ("\"><img src=x onerror=alert(1)>", "' onmouseover='alert(1)"),
        ("alert &lt;b&gt; &amp; &#60;", "<mark>alert</mark>"),
        ("<<alert>>", "<!-- alert --> <![CDATA[ alert ]]> \u{2028}"),
    ];
    for (name, description) in hostile {
        let product = json!({ "name": name, "description": description, "price": 1 });
        assert_eq!(shop.post("/api/v1/products", &product).await.status, 201);
    }
    // And with the very characters that stand for marks on the way.
    shop.sql("INSERT INTO products (name, price) VALUES (E'\\x02<b>alert\\x03</b>', 1)").await;
    for q in ["alert", "aler", "script", "<script>alert", "alerrt"] {
        let found = search(&shop, &format!("q={}", encoded(q))).await;
        let products = found["products"].as_array().expect("an array");
        assert!(!products.is_empty(), "{q}");
        for product in products {
            let snippet = product["snippet"].as_str().expect("a snippet");
            let bare = snippet.replace("<mark>", "").replace("</mark>", "");
            assert!(!bare.contains(['<', '>', '"', '\'']), "{snippet}");
            let entities = ["&lt;", "&gt;", "&quot;", "&#39;", "&amp;"];
            let rest = entities.iter().fold(bare.clone(), |text, entity| text.replace(entity, ""));
            assert!(!rest.contains('&'), "{snippet}");
            assert_eq!(snippet.matches("<mark>").count(), snippet.matches("</mark>").count(), "{snippet}");
        }
    }
    let script = search(&shop, "q=script").await;
    let snippet = script["products"][0]["snippet"].as_str().expect("a snippet");
    assert!(
        snippet.starts_with("&lt;<mark>script</mark>&gt;alert(1)&lt;/<mark>script</mark>&gt; – "),
        "{snippet}"
    );
}

#[tokio::test]
async fn no_q_is_too_much_for_it() {
    let shop = Shop::start().await;
    let long = |part: &str| part.chars().cycle().take(1_000).collect::<String>();
    let legal: Vec<String> = [
        "'",
        "''",
        "\"",
        "\"\"\"",
        "\\",
        "\\'",
        "a\\",
        "%",
        "_",
        "*",
        ":*",
        "a:*",
        "'a':*B",
        "a & b",
        "a && b",
        "a | b",
        "a || b",
        "!a",
        "!!a",
        "a <-> b",
        "a <2> b",
        "<->",
        "(",
        ")",
        "((a)",
        "a:A",
        "-",
        "--",
        "- a",
        "-a -b",
        "-\"a b\"",
        "or",
        "OR or",
        "a or",
        "or a",
        "and",
        "not",
        "the",
        "the of",
        "the lap",
        "$1",
        "$$",
        "{}",
        "[]",
        "1=1; DROP TABLE products",
        "' OR 1=1 --",
        "0",
        "-1",
        "1e309",
        "NaN",
        "null",
        "true",
        "\u{feff}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{10ffff}",
        "\u{200b}",
        "\u{202e}abc",
        "\u{1f980}",
        "ﷺ",
        "Ⅷ",
        "İstanbul",
        "ß",
        "ﬁ",
        "中文字",
        "日本語 テスト",
        "ไทย",
        "العربية",
        "a\u{301}\u{301}\u{301}",
        "\u{301}",
        "http://a.b/c?d=e#f",
        "a@b.c",
        "/etc/passwd",
        "..\\..",
        "<b>&amp;</b>",
        "6.1-inch",
        "1,000.00",
        "+",
        "a+b",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain(
        ["a", "a ", "-", "'", "\"", "(", "\"a\" ", "- ", "a -", "or ", "a or ", "!", "9", "x.", "a/", "a'b"]
            .map(long),
    )
    // Up to 12,000 bytes as they are sent, in a first line that may have 16 KiB.
    .chain(["é", "ﷺ", "中", "中 ", "\u{1f980}"].map(long))
    .collect();
    for q in &legal {
        let answer = shop.get(&format!("{PATH}?q={}&facets=true", encoded(q))).await;
        assert_eq!(answer.status, 200, "{q:?}: {answer:?}");
        assert_eq!(answer.json()["query"], *q);
    }

    let longer = "x".repeat(1_001);
    let not_text = [
        "",
        "%20",
        "+",
        "%00",
        "a%00b",
        "%FF",
        "%C0%80",
        "%ED%A0%80",
        "%F4%90%80%80",
        "%",
        "%4",
        "%zz",
        "%0A",
        "a%1Bb",
    ];
    for q in not_text.into_iter().chain([longer.as_str()]) {
        let answer = shop.get(&format!("{PATH}?q={q}")).await;
        assert_eq!(answer.faults(400), ["q"], "{q}");
    }
    assert_eq!(shop.get(PATH).await.faults(400), ["q"]);
    assert_eq!(shop.get(&format!("{PATH}?q=a&q=b")).await.faults(400), ["q"]);
    for (query, name) in [
        ("min_price=x", "min_price"),
        ("max_price=-1", "max_price"),
        ("min_price=1.001", "min_price"),
        ("min_price=5&max_price=4", "max_price"),
        ("in_stock=2", "in_stock"),
        ("facets=yes", "facets"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=AQAAAAI", "cursor"),
        ("cursor=", "cursor"),
    ] {
        assert_eq!(shop.get(&format!("{PATH}?q=a&{query}")).await.faults(400), [name], "{query}");
    }
    // Bytes that no client would send as they are.
    for raw in [&b"\xff"[..], b"\xc3\xa9", b"\x00", b"\"<>\\^`{|}", b"a\tb"] {
        let mut wire = Wire::open(&shop).await;
        wire.write(
            &[b"GET ", PATH.as_bytes(), b"?q=", raw, b" HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat(),
        )
        .await;
        let answer = wire.answer().await;
        assert!(!answer.status.is_server_error(), "{raw:?}: {answer:?}");
    }
    assert_eq!(shop.send(Method::POST, PATH, &[], b"").await.status, 405);
    assert_eq!(shop.sql("SELECT count(*) FROM products").await, "10");
}

/// Numbers that look like chance and are the same each time (splitmix64).
fn chance(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap_or_default() % below
    }
}

#[tokio::test]
async fn nor_is_any_that_chance_makes_of_the_signs_that_mean_something() {
    const PARTS: [&str; 30] = [
        "-",
        "--",
        "\"",
        "'",
        "\\",
        "(",
        ")",
        "!",
        "&",
        "|",
        ":",
        "*",
        "<",
        "<->",
        ">",
        ",",
        ".",
        "/",
        " ",
        " or ",
        "or",
        "not",
        "a",
        "the",
        "laptop",
        "é",
        "e\u{301}",
        "中",
        "9",
        "\u{1f980}",
    ];
    let shop = Shop::start().await;
    let mut chance = chance(22);
    for _ in 0..300 {
        let parts = 1 + chance(200);
        let q: String = (0..parts).map(|_| PARTS[chance(PARTS.len())]).collect();
        let answer = shop.get(&format!("{PATH}?q={}", encoded(&q))).await;
        let expected = if q.trim().is_empty() || q.chars().count() > 1_000 { 400 } else { 200 };
        assert_eq!(answer.status, expected, "{q:?}: {answer:?}");
    }
}

/// The plan of a statement of the search as it is prepared, whatever it is given later.
async fn plan(shop: &Shop, statement: &str, types: &str, values: &str) -> String {
    let plan = shop
        .sql(&format!(
            "SET plan_cache_mode = force_generic_plan;
             SET pg_trgm.word_similarity_threshold = 0.45;
             PREPARE asked({types}) AS {statement};
             EXPLAIN EXECUTE asked({values})"
        ))
        .await;
    println!("{plan}\n");
    assert!(!plan.contains("Seq Scan on products"), "{plan}");
    plan
}

/// A shop in which a hundred thousand products have the word "gadget", and ten thousand of
/// them each of ten kinds.
async fn with_a_hundred_thousand_gadgets() -> Shop {
    let shop = Shop::start().await;
    shop.sql(
        "INSERT INTO products (name, description, price, stock, category)
         SELECT (ARRAY['Gaming', 'Office', 'Travel', 'Compact', 'Silent', 'Wireless', 'Solid', 'Light', 'Crème', 'Classic'])[1 + n % 10]
                || ' ' || (ARRAY['Laptop', 'Monitor', 'Camera', 'Keyboard', 'Lamp', 'Router', 'Tablet', 'Printer', 'Backpack', 'Bottle'])[1 + n / 10 % 10]
                || ' Gadget ' || to_hex(n),
                'Model ' || n || ' with ' || md5(n::text) || ' and ' || md5((7 * n)::text),
                n % 1000 + 0.99, n % 50, 'Category ' || n % 30
         FROM generate_series(11, 100000) n",
    )
    .await;
    shop.sql("VACUUM ANALYZE products").await;
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn among_a_hundred_thousand_products_the_index_finds_them() {
    let shop = with_a_hundred_thousand_gadgets().await;
    let filters = "text, numeric, numeric, boolean, text, text, text";
    let asked = "NULL, NULL, NULL, false, 'gaming laptop', 'gaming ', '''laptop'':*'";
    let words = [
        (sql::WORDS, format!("{filters}, integer, integer, integer"), format!("{asked}, NULL, NULL, 21")),
        (sql::FACETS_OF_WORDS, filters.to_owned(), asked.to_owned()),
        (sql::KNOWN, "text, text, text".to_owned(), "'gaming laptop', 'gaming ', '''laptop'':*'".to_owned()),
    ];
    for (statement, types, values) in words {
        let plan = plan(&shop, statement, &types, &values).await;
        assert!(plan.contains("Bitmap Index Scan on products_search_idx"), "{plan}");
    }
    // What looks alike is looked for within a function, whose statement has a plan of its own.
    let body = shop.sql("SELECT pg_get_function_sqlbody('products_like'::regproc)").await;
    let body = body.trim().strip_prefix("BEGIN ATOMIC").and_then(|body| body.strip_suffix("END"));
    let body =
        body.expect("a function in SQL").trim().trim_end_matches(';').replace("products_like.asked", "$1");
    let plan = plan(&shop, &body, "text", "'camra'").await;
    assert!(plan.contains("Bitmap Index Scan on products_likeness_idx"), "{plan}");

    // Of more than are ranked it is the newest: the first of them, all being alike.
    assert_eq!(ids(&search(&shop, "q=gadget&limit=1").await), [95_001]);
    assert_eq!(
        search(&shop, "q=gadget&facets=true&limit=1").await["facets"]["categories"][0]["count"],
        3_333
    );
    no_q_takes_too_long(&shop).await;
}

/// What has to do with all products, and with each of them often.
async fn no_q_takes_too_long(shop: &Shop) {
    let cycle = |part: &str| part.chars().cycle().take(1_000).collect::<String>();
    let common =
        "gadget or model or gaming or laptop or office or monitor or travel or camera or silent or lamp or ";
    let hostile = [
        cycle(common),
        cycle("gadget or "),
        cycle("a or b or c or d or e or f or "),
        cycle("-gadget or "),
        cycle("gadget "),
        cycle("gadget,model,"),
        cycle("\"gadget\" "),
        cycle("gadge "),
        cycle("gadgettt"),
        cycle("adget gadge dget "),
        cycle("teg dag "),
        cycle("lap gam off mon tra cam gad "),
        "-xylophone".to_owned(),
        "gadgte".to_owned(),
        "g".to_owned(),
        "0".to_owned(),
    ];
    for q in &hostile {
        for more in ["", "&facets=true&limit=100", "&category=nothing&facets=true"] {
            let begun = Instant::now();
            search(shop, &format!("q={}{more}", encoded(q))).await;
            println!("{:.40}…{more}: {:?}", q, begun.elapsed());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes minutes and judges nothing: `make bench-search` runs it"]
async fn what_a_search_among_a_hundred_thousand_products_costs() {
    let shop = with_a_hundred_thousand_gadgets().await;
    for (what, samples, queries) in [
        (
            "two words, 1,000 products",
            1_000,
            &["gaming+laptop", "silent+camera", "creme+lamp", "travel+router"][..],
        ),
        ("one word and a beginning", 1_000, &["laptop+1f", "office+mon", "bottle+a", "model+9999"]),
        (
            "filtered, with facets",
            1_000,
            &[
                "camera&min_price=500&facets=true",
                "lamp&category=category+7&facets=true",
                "laptop&in_stock=true&facets=true",
                "tablet&max_price=70&facets=true",
            ],
        ),
        ("misspelt", 1_000, &["camra", "lapptop", "backpak", "keybord"]),
        ("a word of all 100,000", 1_000, &["gadget"]),
        ("one letter", 1_000, &["g", "a", "l", "1"]),
    ] {
        let mut times = Vec::new();
        for query in queries.iter().cycle().take(samples) {
            let begun = Instant::now();
            let found = search(&shop, &format!("q={query}")).await;
            times.push(begun.elapsed());
            assert!(!ids(&found).is_empty(), "{query}");
        }
        times.sort_unstable();
        println!(
            "{what}: p50 {:?}, p99 {:?}, longest {:?} of {samples} requests",
            times[samples / 2],
            times[samples * 99 / 100],
            times[samples - 1],
        );
    }
}

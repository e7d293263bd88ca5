//! The statements of the search. Public, so that their plans can be looked at.

/// The filters of `$1` to `$4`: the category, the lowest and the highest price, whether
/// only what is in stock. Each facet leaves its own one out.
macro_rules! of_category {
    () => {
        "($1::text IS NULL OR lower(category) = lower($1))"
    };
}
macro_rules! of_price {
    () => {
        "($2::numeric IS NULL OR price >= $2) AND ($3::numeric IS NULL OR price <= $3)"
    };
}
macro_rules! in_stock {
    () => {
        "(NOT $4::boolean OR stock > 0)"
    };
}

/// What is looked for: what a first text says, or the words of a second one and one that
/// begins as a third does. Computed once, and not for each product.
macro_rules! asked {
    ($whole:literal, $before:literal, $begun:literal) => {
        concat!(
            "WITH asked AS MATERIALIZED (SELECT websearch_to_tsquery('product_stems', product_text(",
            $whole,
            ")) || (websearch_to_tsquery('product_stems', product_text(",
            $before,
            ")) && to_tsquery('product_words', ",
            $begun,
            ")) AS words)"
        )
    };
}

/// One page of what was `found`: it begins after a rank and an id, and is so long.
macro_rules! page {
    ($rank:literal, $id:literal, $limit:literal) => {
        concat!(
            "SELECT * FROM found WHERE ",
            $rank,
            "::integer IS NULL OR rank < ",
            $rank,
            " OR (rank = ",
            $rank,
            " AND id > ",
            $id,
            "::integer) ORDER BY rank DESC, id LIMIT ",
            $limit,
            "::integer"
        )
    };
}

/// A page of the products that have the words; of more than 5,000 only the newest are ranked,
/// since to rank is what takes the time. Ranks are whole millionths, which compare and travel
/// exactly; the 32 keeps them below one. The characters around a marked word are those that
/// no text has which came through the service.
pub const WORDS: &str = concat!(
    asked!("$5", "$6", "$7"),
    ", matched AS (
         SELECT id FROM asked JOIN products ON search @@ asked.words
         WHERE ",
    of_category!(),
    " AND ",
    of_price!(),
    " AND ",
    in_stock!(),
    " ORDER BY id DESC LIMIT 5000
     ), found AS (
         SELECT id, name, description, price, stock, category, created_at,
             (1000000 * ts_rank_cd(search, asked.words, 32))::integer AS rank
         FROM matched JOIN products USING (id), asked
     ), page AS (",
    page!("$8", "$9", "$10"),
    ")
     SELECT page.*,
         ts_headline('product_stems', whole, asked.words, marking) AS marked_stems,
         ts_headline('product_words', whole, asked.words, marking) AS marked_words
     FROM page, asked,
         product_text(concat_ws(' – ', name, description)) AS whole,
         format('HighlightAll=true, StartSel=%s, StopSel=%s', chr(2), chr(3)) AS marking
     ORDER BY rank DESC, id"
);

/// Whether any product has the words, whatever the filters say. Counted, since for a mere
/// `EXISTS` the planner would read the table until it finds one.
pub const KNOWN: &str = concat!(
    asked!("$1", "$2", "$3"),
    " SELECT count(*) > 0 AS known FROM asked JOIN products ON search @@ asked.words"
);

/// A page of the products whose name looks like `$5`.
pub const SIMILARITY: &str = concat!(
    "WITH found AS (
         SELECT products.id, name, description, price, stock, category, created_at,
             (1000000 * likeness)::integer AS rank
         FROM products_like($5) AS alike JOIN products ON products.id = alike.id
         WHERE ",
    of_category!(),
    " AND ",
    of_price!(),
    " AND ",
    in_stock!(),
    "), page AS (",
    page!("$6", "$7", "$8"),
    ")
     SELECT page.*, NULL::text AS marked_stems, NULL::text AS marked_words FROM page ORDER BY rank DESC, id"
);

/// The facets of what was `found`, most products first; the last row is the prices'.
macro_rules! facets {
    () => {
        concat!(
            "(SELECT min(category) AS category, count(*) AS count,
                     NULL::numeric AS lowest, NULL::numeric AS highest
              FROM found WHERE ",
            of_price!(),
            " GROUP BY lower(category) ORDER BY count DESC, lower(category) LIMIT 50)
             UNION ALL
             SELECT NULL, NULL, min(price), max(price) FROM found WHERE ",
            of_category!()
        )
    };
}

/// The facets of the products that have the words.
pub const FACETS_OF_WORDS: &str = concat!(
    asked!("$5", "$6", "$7"),
    ", found AS (SELECT category, price FROM asked JOIN products ON search @@ asked.words WHERE ",
    in_stock!(),
    ") ",
    facets!()
);

/// The facets of the products whose name looks like `$5`.
pub const FACETS_OF_SIMILARITY: &str = concat!(
    "WITH found AS (
         SELECT category, price FROM products_like($5) AS alike JOIN products ON products.id = alike.id WHERE ",
    in_stock!(),
    ") ",
    facets!()
);

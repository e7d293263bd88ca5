//! What a client asks of the search.

use utoipa::IntoParams;
use wasmyard_guest::{Money, Problem, Query, RankedPlace};

use super::Matching;
use crate::category;

/// Characters of `q`: far more than anybody types, and a bound on the words to look for.
const TEXT_LENGTH_MAX: usize = 1_000;
/// Products of a page when the client does not say: what fits a screen or two.
const LIMIT_DEFAULT: i32 = 20;
/// Products of a page at most. Less than a list has, since each one's words are marked.
const LIMIT_MAX: i32 = 100;

/// A search, read from its parameters.
#[derive(Debug, Clone, PartialEq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// The words, of which the first 16 count.
    #[param(
        rename = "q",
        min_length = 1,
        max_length = 1000,
        pattern = r"^[^\x00-\x1F\x7F-\x9F]*[^\s\x00-\x1F\x7F-\x9F][^\x00-\x1F\x7F-\x9F]*$",
        example = "smart"
    )]
    pub(super) text: String,
    /// Only products of this category, in upper or lower case; one that no product has finds
    /// nothing.
    #[param(schema_with = category::schema, required = false)]
    pub(super) category: Option<String>,
    /// Only products that cost this or more.
    #[param(rename = "min_price", schema_with = Query::amount_schema, required = false)]
    pub(super) price_min: Option<Money>,
    /// Only products that cost this or less; not below `min_price`.
    #[param(rename = "max_price", schema_with = Query::amount_schema, required = false)]
    pub(super) price_max: Option<Money>,
    /// Only what there is; without it, what is sold out is found too.
    #[param(schema_with = Query::flag_schema, required = false)]
    pub(super) in_stock: bool,
    /// Whether to tell what the search could be narrowed to.
    #[param(schema_with = Query::flag_schema, required = false)]
    pub(super) facets: bool,
    /// Products of the page.
    #[param(required = false, minimum = 1, maximum = 100, default = 20)]
    pub(super) limit: i32,
    /// Where the page begins: `next` of the page before.
    // Also how the products of that page were found.
    #[param(rename = "cursor", schema_with = RankedPlace::schema, required = false)]
    pub(super) place: Option<(Matching, RankedPlace)>,
}

impl Asked {
    /// Reads the parameters.
    ///
    /// # Errors
    ///
    /// 400 naming the parameter that cannot be understood.
    pub(super) fn read(query: &Query) -> Result<Self, Problem> {
        let text = query.get("q").ok_or_else(|| Problem::bad_parameter("q", "is required"))?;
        let length = text.chars().count();
        if length > TEXT_LENGTH_MAX {
            let detail = format!("must have at most {TEXT_LENGTH_MAX} characters; has {length}");
            return Err(Problem::bad_parameter("q", detail));
        }
        if text.trim().is_empty() {
            return Err(Problem::bad_parameter("q", "must not be blank"));
        }
        let (price_min, price_max) = (query.amount("min_price")?, query.amount("max_price")?);
        if let (Some(least), Some(most)) = (price_min, price_max)
            && most < least
        {
            return Err(Problem::bad_parameter("max_price", format!("must not be below min_price, {least}")));
        }
        Ok(Self {
            text: text.to_owned(),
            category: query.given("category").map(str::to_owned),
            price_min,
            price_max,
            in_stock: query.flag("in_stock")?,
            facets: query.flag("facets")?,
            limit: query.integer("limit", 1..=LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT),
            place: query.get("cursor").map(place).transpose()?,
        })
    }

    /// Whether a filter may keep out what was found.
    pub(super) fn is_narrowed(&self) -> bool {
        self.category.is_some() || self.price_min.is_some() || self.price_max.is_some() || self.in_stock
    }
}

fn place(cursor: &str) -> Result<(Matching, RankedPlace), Problem> {
    let place = RankedPlace::read(cursor);
    let place = place.and_then(|place| Some((Matching::of(place.list)?, place)));
    place.ok_or_else(|| Problem::bad_parameter("cursor", "must be one taken from a page of this search"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Asked, Problem> {
        Asked::read(&Query::parse(query)?)
    }

    #[test]
    fn a_search_needs_nothing_but_words() {
        let asked = read("q=laptop&category=&min_price=&max_price=&in_stock=&facets=").expect("a search");
        assert_eq!(asked, read("q=laptop").expect("the same search"));
        assert_eq!((asked.limit, asked.in_stock, asked.facets, asked.place), (20, false, false, None));
    }

    #[test]
    fn every_parameter_is_read() {
        let place = RankedPlace { list: 1, rank: 500_000, id: 7 };
        let query = format!(
            "q=Caf%C3%A9&category=HOME&min_price=1.5&max_price=1.50&in_stock=true&facets=true&limit=100&cursor={}",
            place.cursor()
        );
        let asked = read(&query).expect("a search");
        assert_eq!((asked.text.as_str(), asked.category.as_deref()), ("Café", Some("HOME")));
        assert_eq!(asked.price_min, Money::parse("1.50").ok());
        assert!(asked.in_stock && asked.facets);
        assert_eq!((asked.limit, asked.place), (100, Some((Matching::Similarity, place))));
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let long = format!("q={}", "%C3%A9".repeat(1_001));
        let elsewhere = format!("q=a&cursor={}", RankedPlace { list: 2, rank: 0, id: 1 }.cursor());
        for (query, name) in [
            ("", "q"),
            ("q=", "q"),
            ("q=+%20", "q"),
            ("q=%00", "q"),
            ("q=%ff", "q"),
            ("q=a&q=b", "q"),
            (long.as_str(), "q"),
            ("q=a&min_price=cheap", "min_price"),
            ("q=a&max_price=-1", "max_price"),
            ("q=a&min_price=2&max_price=1.99", "max_price"),
            ("q=a&in_stock=maybe", "in_stock"),
            ("q=a&facets=1", "facets"),
            ("q=a&limit=0", "limit"),
            ("q=a&limit=101", "limit"),
            ("q=a&cursor=", "cursor"),
            ("q=a&cursor=AQAAAAI", "cursor"),
            (elsewhere.as_str(), "cursor"),
        ] {
            let problem = read(query).expect_err(query);
            assert!(problem.status() == 400, "{query}");
            assert!(problem.detail().starts_with(&format!("invalid {name}: ")), "{query}: {problem:?}");
        }
        assert!(read(&format!("q={}", "%C3%A9".repeat(1_000))).is_ok());
    }
}

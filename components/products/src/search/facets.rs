//! Where among the products found there are how many.

use serde::Serialize;
use utoipa::ToSchema;
use wasmyard_guest::{Money, Problem, query};

use super::asked::Asked;
use super::{Matching, params, sql};

/// What a search could be narrowed to. Each part leaves its own filter out: with
/// `category=books` the other categories keep their counts.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct Facets {
    /// The fullest categories, 50 at most.
    #[schema(max_items = 50)]
    categories: Vec<Category>,
    /// `null` when nothing was found.
    #[schema(required)]
    price: Option<Prices>,
}

/// A category, as one of its products has it written; `null` for products without one.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = CategoryFacet)]
struct Category {
    #[schema(required, example = "Electronics")]
    category: Option<String>,
    #[schema(minimum = 1, example = 6)]
    count: i64,
}

/// The lowest and the highest price.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
struct Prices {
    min: Money,
    max: Money,
}

impl Facets {
    /// Those of everything that was found.
    pub(super) fn of(asked: &Asked, matching: Matching) -> Result<Self, Problem> {
        let statement = match matching {
            Matching::Words => sql::FACETS_OF_WORDS,
            Matching::Similarity => sql::FACETS_OF_SIMILARITY,
        };
        let rows = query(statement, &params(asked, matching))?;
        let categories = rows.all(|row| {
            let (category, count) = (row.get("category")?, row.get::<Option<i64>>("count")?);
            Ok(count.map(|count| Category { category, count }))
        })?;
        let prices = rows.all(|row| {
            let lowest: Option<Money> = row.get("lowest")?;
            Ok(lowest.zip(row.get("highest")?).map(|(min, max)| Prices { min, max }))
        })?;
        Ok(Self {
            categories: categories.into_iter().flatten().collect(),
            price: prices.into_iter().flatten().next(),
        })
    }
}

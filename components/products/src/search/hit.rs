//! A product that was found.

use serde::Serialize;
use utoipa::ToSchema;
use wasmyard_guest::{Row, RowError};

use super::snippet::snippet;
use crate::product::Product;

/// A product that was found, and how well it fits.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct Hit {
    #[serde(flatten)]
    product: Product,
    /// How well it fits.
    rank: Rank,
    /// HTML, in which all but `<mark>` is escaped.
    #[schema(example = "<mark>Smart</mark> Watch: Fitness tracking smartwatch")]
    snippet: String,
}

impl Hit {
    pub(super) fn from_row(row: Row<'_>) -> Result<Self, RowError> {
        let product = Product::from_row(row)?;
        let marked = [row.get("marked_stems")?, row.get("marked_words")?];
        let snippet = snippet(&product.name, product.description.as_deref(), marked);
        Ok(Self { rank: Rank(row.get("rank")?), snippet, product })
    }

    /// The product's key.
    pub(super) fn id(&self) -> i32 {
        self.product.id
    }

    /// The rank in millionths.
    pub(super) fn millionths(&self) -> i32 {
        self.rank.0
    }
}

/// A rank in millionths; from 0 to 1 on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(into = "f64")]
#[schema(value_type = f64, minimum = 0, maximum = 1, example = 0.607927)]
struct Rank(i32);

impl From<Rank> for f64 {
    fn from(rank: Rank) -> Self {
        Self::from(rank.0) / 1_000_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_travels_with_its_six_digits() {
        let json = |rank| serde_json::to_string(&Rank(rank)).expect("JSON");
        assert_eq!([json(607_927), json(0), json(1_000_000)], ["0.607927", "0.0", "1.0"]);
    }
}

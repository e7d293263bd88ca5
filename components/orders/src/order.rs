//! An order, as it is stored.

use serde::Serialize;
use utoipa::ToSchema;
use wasmyard_guest::{Money, Row, RowError, Timestamp};

use crate::workflow::Status;

/// An order.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Order {
    /// Its key.
    #[schema(minimum = 1)]
    pub id: i32,
    /// Who ordered.
    #[schema(minimum = 1)]
    pub user_id: i32,
    /// What.
    #[schema(minimum = 1, example = 2)]
    pub product_id: i32,
    /// How many.
    #[schema(minimum = 1, example = 2)]
    pub quantity: i32,
    /// What they cost together.
    #[schema(example = 1998.00)]
    pub total_price: Money,
    /// How far it has come.
    #[schema(value_type = Status)]
    pub status: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Order {
    pub(crate) fn from_row(row: Row<'_>) -> Result<Self, RowError> {
        Ok(Self {
            id: row.get("id")?,
            user_id: row.get("user_id")?,
            product_id: row.get("product_id")?,
            quantity: row.get("quantity")?,
            total_price: row.get("total_price")?,
            status: row.get("status")?,
            created_at: row.get("created_at")?,
        })
    }
}

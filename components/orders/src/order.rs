//! An order, as it is stored.

use serde::Serialize;
use wasmyard_guest::{Money, Row, RowError, Timestamp};

/// An order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Order {
    /// Its key.
    pub id: i32,
    /// Who ordered.
    pub user_id: i32,
    /// What.
    pub product_id: i32,
    /// How many.
    pub quantity: i32,
    /// What they cost together.
    pub total_price: Money,
    /// How far it has come.
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

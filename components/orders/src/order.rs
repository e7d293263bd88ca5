//! An order, as it is stored.

use serde::Serialize;
use wasmyard_guest::{Money, Row, RowError, Timestamp};

/// An order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Order {
    pub(crate) id: i32,
    pub(crate) user_id: i32,
    pub(crate) product_id: i32,
    pub(crate) quantity: i32,
    pub(crate) total_price: Money,
    pub(crate) status: String,
    pub(crate) created_at: Timestamp,
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

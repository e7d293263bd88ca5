//! An order, as it is stored.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wasmyard_guest::{Money, Row, RowError, Timestamp};

use crate::workflow::Status;

/// An order.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Order {
    /// Its key.
    #[schema(minimum = 1, example = 1)]
    pub id: i32,
    /// Who ordered.
    #[schema(minimum = 1, example = 1)]
    pub user_id: i32,
    /// What, if it is one product alone.
    #[schema(required, minimum = 1, example = 2)]
    pub product_id: Option<i32>,
    /// How many of it.
    #[schema(required, minimum = 1, example = 2)]
    pub quantity: Option<i32>,
    /// What they cost together.
    #[schema(example = 1998.00)]
    pub total_price: Money,
    /// How far it has come.
    #[schema(value_type = Status)]
    pub status: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The lines, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_items = 2, max_items = 50)]
    pub items: Option<Vec<Line>>,
}

/// So many of one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// What.
    #[schema(minimum = 1, example = 2)]
    pub product_id: i32,
    /// How many.
    #[schema(minimum = 1, maximum = 10000, example = 1)]
    pub quantity: i32,
}

/// The columns of an order, in the order of [`Order`]'s fields. Lines are looked for only
/// where the order's own row has none.
#[macro_export]
macro_rules! order_columns {
    () => {
        "orders.id, user_id, orders.product_id, orders.quantity, total_price, status, created_at,
         CASE WHEN orders.product_id IS NULL THEN (
             SELECT json_agg(json_build_object('product_id', item.product_id, 'quantity', item.quantity)
                             ORDER BY line)::text
             FROM order_items AS item WHERE item.order_id = orders.id
         ) END AS items"
    };
}

impl Order {
    pub(crate) fn from_row(row: Row<'_>) -> Result<Self, RowError> {
        let items: Option<&str> = row.get("items")?;
        Ok(Self {
            id: row.get("id")?,
            user_id: row.get("user_id")?,
            product_id: row.get("product_id")?,
            quantity: row.get("quantity")?,
            total_price: row.get("total_price")?,
            status: row.get("status")?,
            created_at: row.get("created_at")?,
            items: items.and_then(lines),
        })
    }
}

/// The lines as `json_agg` wrote them.
pub fn lines(json: &str) -> Option<Vec<Line>> {
    serde_json::from_str(json).ok()
}

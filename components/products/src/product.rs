//! A product, as it is stored and as it is asked for.

use serde::Serialize;
use utoipa::ToSchema;
use wasmyard_guest::{Field, Form, Money, Problem, Request, Row, RowError, Timestamp};

use crate::category;

/// Characters, as in the schema.
pub(crate) const NAME_LENGTH_MAX: usize = 100;
/// The schema sets no bound. With this one, a page of a hundred products stays
/// below 1 MiB in any script.
const DESCRIPTION_LENGTH_MAX: usize = 2_000;

/// Pieces of one product. The column takes twice as many: what orders give back must find
/// room, whatever the stock was set to meanwhile.
const STOCK_MAX: i32 = 1_000_000_000;

/// A product.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Product {
    /// Its key.
    #[schema(minimum = 1, example = 1)]
    pub id: i32,
    /// What it is called.
    #[schema(example = "Smart Watch")]
    pub name: String,
    /// What there is to say about it.
    #[schema(required, example = "Fitness tracking smartwatch")]
    pub description: Option<String>,
    /// What one costs.
    pub price: Money,
    /// How many there are.
    #[schema(minimum = 0, example = 75)]
    pub stock: i32,
    /// The category, as it was written.
    #[schema(required, example = "Electronics")]
    pub category: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Product {
    pub(crate) fn from_row(row: Row<'_>) -> Result<Self, RowError> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            description: row.get("description")?,
            price: row.get("price")?,
            stock: row.get("stock")?,
            category: row.get("category")?,
            created_at: row.get("created_at")?,
        })
    }
}

/// A product that a client wants to be made.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProduct {
    /// What it is called: one line.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"^[^\x00-\x1F\x7F-\x9F]*[^\s\x00-\x1F\x7F-\x9F][^\x00-\x1F\x7F-\x9F]*$",
        example = "Smart Watch"
    )]
    pub name: String,
    /// What there is to say about it.
    #[schema(
        max_length = 2000,
        pattern = r"^[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F]*$",
        example = "Fitness tracking smartwatch"
    )]
    pub description: Option<String>,
    /// What one costs.
    pub price: Money,
    /// How many there are.
    #[schema(value_type = Option<i32>, required = false, minimum = 0, maximum = 1000000000, default = 0, example = 75)]
    pub stock: i32,
    /// The category: one line, without spaces around it.
    #[schema(
        min_length = 1,
        max_length = 50,
        pattern = r"^[^\s\x00-\x1F\x7F-\x9F]([^\x00-\x1F\x7F-\x9F]*[^\s\x00-\x1F\x7F-\x9F])?$",
        example = "Electronics"
    )]
    pub category: Option<String>,
}

impl NewProduct {
    /// The fields of its form.
    pub const FIELDS: &'static [&'static str] = &["name", "description", "price", "stock", "category"];

    pub(crate) fn read(request: &Request) -> Result<Self, Problem> {
        Self::of(request.form(Self::FIELDS)?)
    }

    /// Reads its form.
    ///
    /// # Errors
    ///
    /// 422 with every fault.
    pub fn of(mut form: Form<'_>) -> Result<Self, Problem> {
        let name = form.required("name", |field| field.line(1..=NAME_LENGTH_MAX));
        let description = form.optional("description", |field| field.prose(DESCRIPTION_LENGTH_MAX));
        let price = form.required("price", Money::read);
        let stock = form.optional("stock", stock);
        let category = form.optional("category", category);
        let product = || {
            Some(Self {
                name: name?,
                description: description?,
                price: price?,
                stock: stock?.unwrap_or(0),
                category: category?,
            })
        };
        form.finish(product())
    }
}

/// A change of stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewStock {
    /// How many there are now.
    #[schema(minimum = 0, maximum = 1000000000, example = 45)]
    pub(crate) stock: i32,
}

impl NewStock {
    pub(crate) fn read(request: &Request) -> Result<Self, Problem> {
        let mut form = request.form(&["stock"])?;
        let count = form.required("stock", stock);
        form.finish(count.map(|stock| Self { stock }))
    }
}

fn stock(field: Field<'_>) -> Result<i32, String> {
    field.integer(0..=STOCK_MAX)
}

/// Spaces around a category would make it another one that looks the same.
fn category(field: Field<'_>) -> Result<String, String> {
    let name = field.line(1..=category::LENGTH_MAX)?;
    if name.trim() == name { Ok(name) } else { Err("must not begin or end with a space".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> String {
        let request = Request::with_json(body);
        let response = NewProduct::read(&request).expect_err(body).answer(&request);
        assert_eq!(response.status, 422, "{body}");
        String::from_utf8(response.body).expect("UTF-8")
    }

    #[test]
    fn the_labs_product_is_taken_to_the_cent() {
        let body = r#"{"name": "Smart Watch", "description": "Fitness tracking smartwatch",
            "price": 299.99, "stock": 75, "category": "Electronics"}"#;
        let product = NewProduct::read(&Request::with_json(body)).expect("a product");
        assert_eq!((product.price.to_string().as_str(), product.stock), ("299.99", 75));
        assert_eq!(product.category.as_deref(), Some("Electronics"));
    }

    #[test]
    fn name_and_price_are_enough() {
        let product =
            NewProduct::read(&Request::with_json(r#"{"name": "Pen", "price": 0, "category": null}"#));
        let product = product.expect("a product");
        assert_eq!((product.stock, product.description, product.category), (0, None, None));
    }

    #[test]
    fn each_rule_names_its_field() {
        for (fields, pointer) in [
            (r#""name": "", "price": 1"#, "/name"),
            (r#""name": "a\u0000", "price": 1"#, "/name"),
            (r#""name": "Pen""#, "/price"),
            (r#""name": "Pen", "price": "1.00""#, "/price"),
            (r#""name": "Pen", "price": 1.999"#, "/price"),
            (r#""name": "Pen", "price": -1"#, "/price"),
            (r#""name": "Pen", "price": 1e99"#, "/price"),
            (r#""name": "Pen", "price": 1, "stock": -1"#, "/stock"),
            (r#""name": "Pen", "price": 1, "stock": 1.5"#, "/stock"),
            (r#""name": "Pen", "price": 1, "stock": 1000000001"#, "/stock"),
            (r#""name": "Pen", "price": 1, "stock": 2147483648"#, "/stock"),
            (r#""name": "Pen", "price": 1, "category": """#, "/category"),
            (r#""name": "Pen", "price": 1, "category": " Office""#, "/category"),
            (r#""name": "Pen", "price": 1, "categry": "Office""#, "/categry"),
        ] {
            let body = refusal(&format!("{{{fields}}}"));
            assert!(body.contains(&format!(r#""pointer":"{pointer}""#)), "{fields}: {body}");
        }
        let long = refusal(&format!(r#"{{"name": "{}", "price": 1}}"#, "é".repeat(101)));
        assert!(long.contains("has 101"), "{long}");
    }

    #[test]
    fn the_form_has_the_fields_that_are_described() {
        let schema = serde_json::to_value(<NewProduct as utoipa::PartialSchema>::schema()).expect("JSON");
        let mut described: Vec<_> = schema["properties"].as_object().expect("fields").keys().collect();
        let mut read = NewProduct::FIELDS.to_vec();
        described.sort();
        read.sort_unstable();
        assert_eq!(described, read);
    }

    #[test]
    fn a_change_of_stock_is_one_number() {
        assert_eq!(NewStock::read(&Request::with_json(r#"{"stock": 45}"#)), Ok(NewStock { stock: 45 }));
        assert!(NewStock::read(&Request::with_json(r#"{"stock": 45, "price": 1}"#)).is_err());
        assert!(NewStock::read(&Request::with_json("{}")).is_err());
        assert!(NewStock::read(&Request::with_json(r#"{"stock": 1000000000}"#)).is_ok());
        assert!(NewStock::read(&Request::with_json(r#"{"stock": 1000000001}"#)).is_err());
    }

    #[test]
    fn a_product_is_written_in_the_labs_order() {
        let time = Timestamp::from_microseconds(0).expect("a time");
        let price =
            NewProduct::read(&Request::with_json(r#"{"name": "x", "price": 999}"#)).expect("a product").price;
        let (name, category) = ("Phone".to_owned(), Some("Electronics".to_owned()));
        let product = Product { id: 2, name, description: None, price, stock: 5, category, created_at: time };
        assert_eq!(
            serde_json::to_string(&product).expect("JSON"),
            r#"{"id":2,"name":"Phone","description":null,"price":999.00,"stock":5,"category":"Electronics","created_at":"1970-01-01T00:00:00Z"}"#
        );
    }
}

//! Making an order.
//!
//! The service's role sees neither users nor products: their owners are asked. The
//! price is taken from the products service past its cache (`no-cache`), so the total
//! is that of the price which the database held between the request's arrival and its
//! answer, even when a price was changed by hand a moment ago and the cached product
//! still shows the old one. A price that changes after that belongs to the next order;
//! no lock is held across services. The user's existence may come from a cache, as may
//! a deleted product: the foreign keys have the last word, with the same answer.

use utoipa::ToSchema;
use wasmyard_guest::{
    Caller, Fault, Field, Form, FormProblems, Money, Object, OnConstraint, Peer, Problem, Reply, Request,
    Response, invalidate, problems, write,
};

use crate::order::Order;
use crate::{LIST_KEY, PATH, item_key};

/// Items of one product in one order: far above any honest order of the shop.
const QUANTITY_MAX: i32 = 10_000;

problems! { NotYours: not_yours(1) }

/// Makes an order.
///
/// With a token it is for its caller, and an admin may order for anyone.
#[utoipa::path(post, path = PATH, request_body(
    content = NewOrder,
    example = json!({ "user_id": 1, "product_id": 2, "quantity": 2, "total_price": 1998.00 }),
), responses(
    (status = 201, description = "The order that was made.", body = Order, headers(
        ("Location" = String, description = "Where the order is."),
    )),
    FormProblems,
    NotYours,
))]
pub(crate) fn create(request: &Request) -> Result<Response, Problem> {
    let order = NewOrder::read(request)?;
    let user = Peer("users").get(&format!("/api/v1/users/{}", order.user_id))?;
    let product = Peer("products").get_fresh(&format!("/api/v1/products/{}", order.product_id))?;
    let price = if let Reply::Found(body) = product { Some(price(&body)?) } else { None };
    let total = order.total(user != Reply::Absent, price)?;

    let (NewOrder { user_id, product_id, quantity, .. }, by) = (&order, request.subject());
    let written = write(
        INSERT,
        &[(*user_id).into(), (*product_id).into(), (*quantity).into(), total.into(), by.into()],
        &[LIST_KEY.to_owned()],
    )
    .on_constraint("orders_user_id_fkey", || Problem::unprocessable(vec![order.no_user()]))
    .on_constraint("orders_product_id_fkey", || Problem::unprocessable(vec![order.no_product()]))?;
    let order = written.first(Order::from_row)?.ok_or_else(|| Problem::internal("INSERT returned no row"))?;
    invalidate(&[LIST_KEY.to_owned(), item_key(order.id)]);
    Response::created(&format!("{PATH}/{}", order.id), &order)
}

/// Writes an order, and the beginning of its history.
pub const INSERT: &str = "
    WITH made AS (
        INSERT INTO orders (user_id, product_id, quantity, total_price) VALUES ($1, $2, $3, $4)
        RETURNING id, user_id, product_id, quantity, total_price, status, created_at
    ), noted AS (
        INSERT INTO order_history (order_id, status, changed_by, changed_at)
        SELECT id, status, $5, created_at AT TIME ZONE 'UTC' FROM made
    )
    SELECT * FROM made";

/// An order that a client wants to be made.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// Who orders; the caller, unless it says so. Without a token it must.
    #[schema(value_type = Option<i32>, required = false, minimum = 1, example = 1)]
    pub user_id: i32,
    /// What.
    #[schema(minimum = 1, example = 2)]
    pub product_id: i32,
    /// How many.
    #[schema(minimum = 1, maximum = 10000, example = 2)]
    pub quantity: i32,
    /// What the client believes it will cost, if it says so.
    #[schema(example = 1998.00)]
    pub total_price: Option<Money>,
}

impl NewOrder {
    /// The fields of its form.
    pub const FIELDS: &'static [&'static str] = &["user_id", "product_id", "quantity", "total_price"];

    fn read(request: &Request) -> Result<Self, Problem> {
        let caller = request.caller()?;
        let order = Self::by(caller, request.form(Self::FIELDS)?)?;
        match caller {
            Some(caller) if !caller.may_see(order.user_id) => Err(not_yours(caller.id)),
            _ => Ok(order),
        }
    }

    /// Reads its form, where nobody is known.
    ///
    /// # Errors
    ///
    /// 422 with every fault.
    pub fn of(form: Form<'_>) -> Result<Self, Problem> {
        Self::by(None, form)
    }

    /// A caller who is known orders for themselves, unless the form says for whom.
    fn by(caller: Option<Caller>, mut form: Form<'_>) -> Result<Self, Problem> {
        let id = |field: Field<'_>| field.integer(1..=i32::MAX);
        let user_id = match caller {
            None => form.required("user_id", id),
            Some(caller) => form.optional("user_id", id).map(|given| given.unwrap_or(caller.id)),
        };
        let product_id = form.required("product_id", id);
        let quantity = form.required("quantity", |field| field.integer(1..=QUANTITY_MAX));
        let total_price = form.optional("total_price", Money::read);
        let order = || {
            let (user_id, product_id, quantity) = (user_id?, product_id?, quantity?);
            Some(Self { user_id, product_id, quantity, total_price: total_price? })
        };
        form.finish(order())
    }

    /// What the order costs, from what the owners of users and products say: whether
    /// the user exists, and the product's price if that one does.
    ///
    /// # Errors
    ///
    /// 422 with every fault.
    pub fn total(&self, user_exists: bool, price: Option<Money>) -> Result<Money, Problem> {
        let mut faults = Vec::new();
        if !user_exists {
            faults.push(self.no_user());
        }
        let total = match price {
            None => {
                faults.push(self.no_product());
                None
            }
            Some(price) => price.times(self.quantity).or_else(|| {
                faults.push(Fault::field("quantity", format!("the total would exceed {}", Money::max())));
                None
            }),
        };
        let Some(total) = total else { return Err(Problem::unprocessable(faults)) };
        if self.total_price.is_some_and(|claimed| claimed != total) {
            faults.push(Fault::field("total_price", format!("must be {total}, price times quantity")));
        }
        if faults.is_empty() { Ok(total) } else { Err(Problem::unprocessable(faults)) }
    }

    /// The user does not exist.
    pub fn no_user(&self) -> Fault {
        Fault::field("user_id", format!("there is no user with the id {}", self.user_id))
    }

    /// The product does not exist.
    pub fn no_product(&self) -> Fault {
        let id = self.product_id;
        Fault::field("product_id", format!("there is no product with the id {id}"))
    }
}

fn not_yours(caller: i32) -> Problem {
    Problem::forbidden_field("user_id", format!("must be your own id, {caller}, or left out"))
}

/// The price in a product as the products service writes it.
fn price(product: &[u8]) -> Result<Money, Problem> {
    let price = Object::parse(product).ok().and_then(|product| product.field("price"));
    let price = price.and_then(|price| Money::read(price).ok());
    price.ok_or_else(|| Problem::internal("the products service answered with no price"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(problem: Problem) -> String {
        let response = problem.answer(&Request::with_json(""));
        assert_eq!(response.status, 422);
        String::from_utf8(response.body).expect("UTF-8")
    }

    fn total(body: &str, user_exists: bool, price: Option<Money>) -> Result<String, Problem> {
        let total = NewOrder::read(&Request::with_json(body))?.total(user_exists, price)?;
        Ok(total.to_string())
    }

    fn phone() -> Option<Money> {
        price(br#"{"id":2,"name":"Smartphone","price":999.00,"stock":5}"#).ok()
    }

    #[test]
    fn the_total_is_the_servers_and_a_right_guess_is_welcome() {
        for claim in
            ["", r#", "total_price": 1998.00"#, r#", "total_price": 1998"#, r#", "total_price": null"#]
        {
            let body = format!(r#"{{"user_id": 1, "product_id": 2, "quantity": 2{claim}}}"#);
            assert_eq!(total(&body, true, phone()), Ok("1998.00".into()), "{claim}");
        }
    }

    #[test]
    fn a_wrong_total_is_told_the_right_one() {
        let body = r#"{"user_id": 1, "product_id": 2, "quantity": 2, "total_price": 1998.01}"#;
        let refused = refusal(total(body, true, phone()).expect_err("a fault"));
        assert!(refused.contains(r#""pointer":"/total_price""#), "{refused}");
        assert!(refused.contains("must be 1998.00"), "{refused}");
    }

    #[test]
    fn an_unknown_user_and_an_unknown_product_are_named_together() {
        let body = r#"{"user_id": 9999, "product_id": 8888, "quantity": 1}"#;
        let refused = refusal(total(body, false, None).expect_err("faults"));
        assert!(refused.contains("invalid user_id: there is no user with the id 9999"), "{refused}");
        assert!(refused.contains("invalid product_id: there is no product with the id 8888"), "{refused}");
        let body = r#"{"user_id": 9999, "product_id": 2, "quantity": 1, "total_price": 5}"#;
        let refused = refusal(total(body, false, phone()).expect_err("faults"));
        assert!(refused.contains("/user_id") && refused.contains("must be 999.00"), "{refused}");
    }

    #[test]
    fn a_total_beyond_the_column_is_a_fault_of_the_quantity() {
        let dear = Some(Money::max());
        let body = r#"{"user_id": 1, "product_id": 2, "quantity": 2}"#;
        let refused = refusal(total(body, true, dear).expect_err("a fault"));
        assert!(refused.contains(r#""pointer":"/quantity""#), "{refused}");
    }

    #[test]
    fn the_form_has_the_fields_that_are_described() {
        let schema = serde_json::to_value(<NewOrder as utoipa::PartialSchema>::schema()).expect("JSON");
        let mut described: Vec<_> = schema["properties"].as_object().expect("fields").keys().collect();
        let mut read = NewOrder::FIELDS.to_vec();
        described.sort();
        read.sort_unstable();
        assert_eq!(described, read);
    }

    #[test]
    fn fields_have_ranges() {
        let body =
            r#"{"user_id": 0, "product_id": 2147483648, "quantity": 10001, "total_price": -1, "x": 1}"#;
        let refused = refusal(NewOrder::read(&Request::with_json(body)).expect_err("faults"));
        for pointer in ["/user_id", "/product_id", "/quantity", "/total_price", "/x"] {
            assert!(refused.contains(&format!(r#""pointer":"{pointer}""#)), "{pointer}: {refused}");
        }
    }

    #[test]
    fn a_product_without_a_price_is_nobodys_order() {
        assert_eq!(price(b"{}").expect_err("no price").status(), 500);
        assert_eq!(price(br#"{"price":99.99}"#).map(|price| price.to_string()), Ok("99.99".into()));
    }
}

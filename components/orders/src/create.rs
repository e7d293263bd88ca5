//! Making an order.
//!
//! The service's role sees neither users nor products: their owners are asked. The
//! price is taken from the products service past its cache (`no-cache`), so the total
//! is that of the price which the database held between the request's arrival and its
//! answer, even when a price was changed by hand a moment ago and the cached product
//! still shows the old one. A price that changes after that belongs to the next order;
//! no lock is held across services. The user's existence may come from a cache, as may
//! a deleted product: the foreign keys have the last word, with the same answer.
//!
//! From there on it is a saga of three steps, each in a transaction of its own: products
//! reserves the stock, the order is written, products confirms. See `saga`.

use wasmyard_guest::{Money, Object, Peer, Problem, Reply, Request, Response, invalidate};

use crate::idempotency::{Key, KeyField, KeyedFormProblems};
use crate::new_order::{NewOrder, NewOrderForm, NotYours};
use crate::order::Order;
use crate::saga::{self, Begun, CannotBeMade, Saga};
use crate::{LIST_KEY, PATH, item_key};

/// Makes an order.
///
/// With a token it is for its caller, and an admin may order for anyone. The stock of all lines
/// is taken, or nothing is. With an `Idempotency-Key` a request may be sent again, and makes
/// one order.
#[utoipa::path(post, path = PATH, params(KeyField), request_body(
    content = NewOrderForm,
    examples(
        ("one" = (summary = "One product", value = json!({
            "user_id": 1, "product_id": 2, "quantity": 2, "total_price": 1998.00
        }))),
        ("several" = (summary = "Several products", value = json!({
            "user_id": 1, "items": [{ "product_id": 2, "quantity": 1 }, { "product_id": 9, "quantity": 2 }]
        }))),
    ),
), responses(
    (status = 201, description = "The order that was made.", body = Order, headers(
        ("Location" = String, description = "Where the order is."),
        ("Idempotent-Replayed" = String, description = "`true`: what the first request with the key was answered."),
    )),
    KeyedFormProblems,
    NotYours,
    CannotBeMade,
))]
pub(crate) fn create(request: &Request) -> Result<Response, Problem> {
    let key = Key::of(request)?;
    // Before anything else: what was answered once is answered again, whatever has become
    // of the user, the price or the stock.
    if let Some(answer) = key.as_ref().map(Key::answer).transpose()?.flatten() {
        return Ok(answer);
    }
    let wanted = NewOrder::read(request)?;
    let total = total(&wanted)?;
    let saga = match Saga::begin(key.as_ref())? {
        Begun::Saga(saga) => saga,
        // Another request with the key was faster by a moment.
        Begun::Claimed(key) => return key.answer()?.ok_or_else(Key::running),
    };
    saga.reserve(&wanted)?;
    let order = saga.order(&wanted, total);
    let answer = Response::created(&format!("{PATH}/{}", order.id), &order)?;
    saga.write(&wanted, &order, request.subject(), &answer.body)?;
    invalidate(&[LIST_KEY.to_owned(), item_key(order.id)]);
    // The order is made: what is left, the sweep can do as well.
    saga::confirm_or_leave(order.id);
    Ok(answer)
}

/// What the order costs, or everything that is wrong with it.
fn total(wanted: &NewOrder) -> Result<Money, Problem> {
    let user = Peer("users").get(&format!("/api/v1/users/{}", wanted.user_id))?;
    let prices = wanted.lines.iter().map(|line| {
        let product = Peer("products").get_fresh(&format!("/api/v1/products/{}", line.product_id))?;
        if let Reply::Found(body) = product { price(&body).map(Some) } else { Ok(None) }
    });
    let prices = prices.collect::<Result<Vec<_>, _>>()?;
    wanted.total(user != Reply::Absent, &prices)
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

    #[test]
    fn a_product_without_a_price_is_nobodys_order() {
        assert_eq!(price(b"{}").expect_err("no price").status(), 500);
        assert_eq!(price(br#"{"price":99.99}"#).map(|price| price.to_string()), Ok("99.99".into()));
    }
}

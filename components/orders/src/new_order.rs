//! An order that a client wants to be made.

use utoipa::ToSchema;
use wasmyard_guest::{Caller, Fault, Field, Form, Money, Problem, Request, problems};

use crate::order::Line;

/// Items of one product in one order: far above any honest order of the shop.
const QUANTITY_MAX: i32 = 10_000;
/// Lines of one order: as many as products takes at once.
const LINES_MAX: usize = 50;

/// An order that a client wants to be made: of one product, in the lab's form, or of
/// several in `items`. `items` with one line is the same order as the lab's form.
#[derive(Debug, Clone, PartialEq)]
pub struct NewOrder {
    /// Who orders.
    pub user_id: i32,
    /// What, from 1 to 50 different products.
    pub lines: Vec<Line>,
    /// What the client believes it will cost, if it says so.
    pub total_price: Option<Money>,
    /// Whether the lines were given in `items`, where faults must point to.
    listed: bool,
}

impl NewOrder {
    /// The fields of its form.
    pub const FIELDS: &'static [&'static str] =
        &["user_id", "product_id", "quantity", "total_price", "items"];

    pub(crate) fn read(request: &Request) -> Result<Self, Problem> {
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
        let user_id = match caller {
            None => form.required("user_id", id),
            Some(caller) => form.optional("user_id", id).map(|given| given.unwrap_or(caller.id)),
        };
        let items = form.list("items", 1..=LINES_MAX, &["product_id", "quantity"], line);
        let listed = !matches!(items, Some(None));
        let lines = match items {
            None => None,
            Some(None) => line(&mut form).map(|line| vec![line]),
            Some(Some(items)) => alone(&mut form).and(unlike(&mut form, items)),
        };
        let total_price = form.optional("total_price", Money::read);
        let order = || Some(Self { user_id: user_id?, lines: lines?, total_price: total_price?, listed });
        form.finish(order())
    }

    /// What the order costs, from what the owners of users and products say: whether the
    /// user exists, and each line's price if there is that product.
    ///
    /// # Errors
    ///
    /// 422 with every fault.
    pub fn total(&self, user_exists: bool, prices: &[Option<Money>]) -> Result<Money, Problem> {
        let mut faults = Vec::new();
        if !user_exists {
            faults.push(self.no_user());
        }
        let mut total = Some(Money::ZERO);
        for (index, line) in self.lines.iter().enumerate() {
            let Some(price) = prices.get(index).copied().flatten() else {
                faults.push(self.no_product(index));
                total = None;
                continue;
            };
            let sum = price.times(line.quantity).zip(total).map(|(cost, sum)| sum.plus(cost));
            if total.is_some() && sum.flatten().is_none() {
                let detail = format!("the total would exceed {}", Money::max());
                faults.push(Fault::at(self.place(index, "quantity"), detail));
            }
            total = sum.flatten();
        }
        let Some(total) = total else { return Err(Problem::unprocessable(faults)) };
        if self.total_price.is_some_and(|claimed| claimed != total) {
            let of = if self.listed { "the sum of price times quantity" } else { "price times quantity" };
            faults.push(Fault::field("total_price", format!("must be {total}, {of}")));
        }
        if faults.is_empty() { Ok(total) } else { Err(Problem::unprocessable(faults)) }
    }

    /// The one line, if there is one alone.
    pub fn single(&self) -> Option<Line> {
        if let [line] = *self.lines { Some(line) } else { None }
    }

    /// The user does not exist.
    pub fn no_user(&self) -> Fault {
        Fault::field("user_id", format!("there is no user with the id {}", self.user_id))
    }

    /// The product of a line does not exist.
    pub fn no_product(&self, index: usize) -> Fault {
        let id = self.lines.get(index).map_or(0, |line| line.product_id);
        Fault::at(self.place(index, "product_id"), format!("there is no product with the id {id}"))
    }

    pub(crate) fn place(&self, index: usize, field: &str) -> String {
        if self.listed { format!("/items/{index}/{field}") } else { format!("/{field}") }
    }
}

/// The form that [`NewOrder`] is read from, as it is described.
#[derive(ToSchema)]
#[schema(as = NewOrder)]
#[serde(untagged)]
#[expect(dead_code, reason = "a description, never a value")]
pub(crate) enum NewOrderForm {
    /// Of one product.
    One(OneProduct),
    /// Of several products, or of one.
    Several(SeveralProducts),
}

/// An order of one product.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "a description, never a value")]
pub(crate) struct OneProduct {
    /// Who orders; the caller, unless it says so. Without a token it must.
    #[schema(minimum = 1, example = 1)]
    user_id: Option<i32>,
    /// What.
    #[schema(minimum = 1, example = 2)]
    product_id: i32,
    /// How many.
    #[schema(minimum = 1, maximum = 10000, example = 2)]
    quantity: i32,
    /// What the client believes it will cost, if it says so.
    #[schema(example = 1998.00)]
    total_price: Option<Money>,
}

/// An order of several products, each in one line.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "a description, never a value")]
pub(crate) struct SeveralProducts {
    /// Who orders; the caller, unless it says so. Without a token it must.
    #[schema(minimum = 1, example = 1)]
    user_id: Option<i32>,
    /// What, and how many of each.
    #[schema(min_items = 1, max_items = 50)]
    items: Vec<Line>,
    /// What the client believes it will cost together, if it says so.
    #[schema(example = 1058.98)]
    total_price: Option<Money>,
}

problems! { pub(crate) NotYours: not_yours(1) }

fn not_yours(caller: i32) -> Problem {
    Problem::forbidden_field("user_id", format!("must be your own id, {caller}, or left out"))
}

fn id(field: Field<'_>) -> Result<i32, String> {
    field.integer(1..=i32::MAX)
}

fn line(form: &mut Form<'_>) -> Option<Line> {
    let product_id = form.required("product_id", id);
    let quantity = form.required("quantity", |field| field.integer(1..=QUANTITY_MAX));
    Some(Line { product_id: product_id?, quantity: quantity? })
}

/// Beside `items` the lab's two fields have nothing to say.
fn alone(form: &mut Form<'_>) -> Option<()> {
    let refused = |_: Field<'_>| Err::<(), _>("must not stand beside items".to_owned());
    form.optional("product_id", refused).and(form.optional("quantity", refused)).map(|_| ())
}

/// One product, one line: two of them are rather a mistake than an order for both.
fn unlike(form: &mut Form<'_>, items: Vec<Line>) -> Option<Vec<Line>> {
    let mut faultless = true;
    for (index, item) in items.iter().enumerate() {
        let same = items[..index].iter().position(|other| other.product_id == item.product_id);
        if let Some(first) = same {
            let detail = format!("is the product of items/{first} already; one line has all of it");
            form.fault(Fault::at(format!("/items/{index}/product_id"), detail));
            faultless = false;
        }
    }
    faultless.then_some(items)
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema;

    use super::*;

    fn refusal(problem: Problem) -> String {
        let response = problem.answer(&Request::with_json(""));
        assert_eq!(response.status, 422);
        String::from_utf8(response.body).expect("UTF-8")
    }

    fn total(body: &str, user_exists: bool, prices: &[Option<Money>]) -> Result<String, Problem> {
        let total = NewOrder::read(&Request::with_json(body))?.total(user_exists, prices)?;
        Ok(total.to_string())
    }

    fn price(digits: &str) -> Option<Money> {
        Some(Money::parse(digits).expect("a price"))
    }

    #[test]
    fn the_total_is_the_servers_and_a_right_guess_is_welcome() {
        for claim in
            ["", r#", "total_price": 1998.00"#, r#", "total_price": 1998"#, r#", "total_price": null"#]
        {
            let body = format!(r#"{{"user_id": 1, "product_id": 2, "quantity": 2{claim}}}"#);
            assert_eq!(total(&body, true, &[price("999")]), Ok("1998.00".into()), "{claim}");
            let body = format!(r#"{{"user_id": 1, "items": [{{"product_id": 2, "quantity": 2}}]{claim}}}"#);
            assert_eq!(total(&body, true, &[price("999")]), Ok("1998.00".into()), "{claim}");
        }
    }

    #[test]
    fn several_lines_are_added_up() {
        let body = r#"{"user_id": 1, "total_price": 1999.50, "items": [
            {"product_id": 2, "quantity": 2}, {"product_id": 3, "quantity": 3}]}"#;
        assert_eq!(total(body, true, &[price("999"), price("0.5")]), Ok("1999.50".into()));
        let refused = refusal(total(body, true, &[price("999"), price("0.6")]).expect_err("a fault"));
        assert!(refused.contains("must be 1999.80, the sum of"), "{refused}");
        let refused = refusal(total(body, true, &[price("999"), None]).expect_err("a fault"));
        assert!(refused.contains(r#""pointer":"/items/1/product_id""#), "{refused}");
        let dear = Some(Money::max());
        let refused = refusal(total(body, true, &[price("1"), dear]).expect_err("a fault"));
        assert!(refused.contains(r#""pointer":"/items/1/quantity""#), "{refused}");
    }

    #[test]
    fn a_line_is_wrong_where_it_stands() {
        for (items, pointers) in [
            ("[]", &["/items"][..]),
            ("{}", &["/items"]),
            ("7", &["/items"]),
            (r#"[7, {"product_id": 0, "quantity": 1}]"#, &["/items/0", "/items/1/product_id"]),
            (r#"[{"product_id": 1}, {"quantity": 1}]"#, &["/items/0/quantity", "/items/1/product_id"]),
            (
                r#"[{"product_id": 1, "quantity": 10001, "price": 1}]"#,
                &["/items/0/price", "/items/0/quantity"],
            ),
            (
                r#"[{"product_id": 1, "quantity": 1}, {"product_id": 1, "quantity": 1}]"#,
                &["/items/1/product_id"],
            ),
        ] {
            let body = format!(r#"{{"user_id": 1, "items": {items}}}"#);
            let refused = refusal(NewOrder::read(&Request::with_json(&body)).expect_err("faults"));
            assert_eq!(refused.matches("\"pointer\"").count(), pointers.len(), "{items}: {refused}");
            for pointer in pointers {
                assert!(refused.contains(&format!(r#""pointer":"{pointer}""#)), "{pointer}: {refused}");
            }
        }
        let many: Vec<_> = (1..=51).map(|id| format!(r#"{{"product_id": {id}, "quantity": 1}}"#)).collect();
        let body = |count: usize| format!(r#"{{"user_id": 1, "items": [{}]}}"#, many[..count].join(","));
        let fifty = NewOrder::read(&Request::with_json(&body(50))).expect("fifty lines");
        assert_eq!((fifty.lines.len(), fifty.single()), (50, None));
        let refused = refusal(NewOrder::read(&Request::with_json(&body(51))).expect_err("one too many"));
        assert!(refused.contains("must have 1 to 50 entries; has 51"), "{refused}");
    }

    #[test]
    fn both_forms_at_once_are_none() {
        let body = r#"{"user_id": 1, "quantity": 1, "items": [{"product_id": 2, "quantity": 2}]}"#;
        let refused = refusal(NewOrder::read(&Request::with_json(body)).expect_err("a fault"));
        assert!(refused.contains("invalid quantity: must not stand beside items"), "{refused}");
    }

    #[test]
    fn a_wrong_total_is_told_the_right_one() {
        let body = r#"{"user_id": 1, "product_id": 2, "quantity": 2, "total_price": 1998.01}"#;
        let refused = refusal(total(body, true, &[price("999")]).expect_err("a fault"));
        assert!(refused.contains(r#""pointer":"/total_price""#), "{refused}");
        assert!(refused.contains("must be 1998.00, price times quantity"), "{refused}");
    }

    #[test]
    fn an_unknown_user_and_an_unknown_product_are_named_together() {
        let body = r#"{"user_id": 9999, "product_id": 8888, "quantity": 1}"#;
        let refused = refusal(total(body, false, &[None]).expect_err("faults"));
        assert!(refused.contains("invalid user_id: there is no user with the id 9999"), "{refused}");
        assert!(refused.contains("invalid product_id: there is no product with the id 8888"), "{refused}");
        let body = r#"{"user_id": 9999, "product_id": 2, "quantity": 1, "total_price": 5}"#;
        let refused = refusal(total(body, false, &[price("999")]).expect_err("faults"));
        assert!(refused.contains("/user_id") && refused.contains("must be 999.00"), "{refused}");
    }

    #[test]
    fn a_total_beyond_the_column_is_a_fault_of_the_quantity() {
        let body = r#"{"user_id": 1, "product_id": 2, "quantity": 2}"#;
        let refused = refusal(total(body, true, &[Some(Money::max())]).expect_err("a fault"));
        assert!(refused.contains(r#""pointer":"/quantity""#), "{refused}");
    }

    #[test]
    fn the_form_has_the_fields_that_are_described() {
        let fields = |schema| {
            let schema = serde_json::to_value(schema).expect("JSON");
            schema["properties"].as_object().expect("fields").keys().cloned().collect::<Vec<_>>()
        };
        let mut described = fields(<OneProduct as PartialSchema>::schema());
        described.extend(fields(<SeveralProducts as PartialSchema>::schema()));
        let mut read = NewOrder::FIELDS.to_vec();
        described.sort();
        described.dedup();
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
}

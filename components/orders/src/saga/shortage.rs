//! Not enough of a product.

use wasmyard_guest::{Fault, Object, Problem, problems};

use crate::idempotency::Key;
use crate::new_order::NewOrder;

problems! {
    /// Why an order is not made although it is a right one.
    pub(crate) CannotBeMade:
        Shortage { product: 2, requested: 5, available: 4 }.problem_at("/quantity".to_owned()),
        Key::running(),
}

/// A product of which there is not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shortage {
    product: i32,
    requested: i32,
    available: i32,
}

impl Shortage {
    /// As products writes it; `None` when it refused for another reason.
    pub(super) fn read(refusal: &[u8]) -> Option<Self> {
        let refusal = Object::parse(refusal).ok()?;
        let number = |name| refusal.field(name).and_then(|field| field.integer(0..=i32::MAX).ok());
        Some(Self {
            product: number("product")?,
            requested: number("requested")?,
            available: number("available")?,
        })
    }

    /// 409, at the line that asks for it.
    pub(super) fn problem(self, wanted: &NewOrder) -> Problem {
        let index = wanted.lines.iter().position(|line| line.product_id == self.product).unwrap_or_default();
        self.problem_at(wanted.place(index, "quantity"))
    }

    fn problem_at(self, place: String) -> Problem {
        let Self { product, requested, available } = self;
        let detail = format!("there are {available} of product {product}, and {requested} were asked for");
        Problem::conflict(detail.as_str())
            .with_faults(vec![Fault::at(place, detail)])
            .with("product", product)
            .with("requested", requested)
            .with("available", available)
    }
}

#[cfg(test)]
mod tests {
    use wasmyard_guest::Form;

    use super::*;

    #[test]
    fn a_shortage_is_told_where_it_is() {
        let shortage = Shortage::read(br#"{"status":409,"product":3,"requested":5,"available":4}"#);
        let shortage = shortage.expect("a shortage");
        for (body, pointer) in [
            (r#"{"user_id":1,"product_id":3,"quantity":5}"#, "/quantity"),
            (
                r#"{"user_id":1,"items":[{"product_id":2,"quantity":1},{"product_id":3,"quantity":5}]}"#,
                "/items/1/quantity",
            ),
        ] {
            let form = Form::parse(body.as_bytes(), NewOrder::FIELDS).expect("a form");
            let problem = shortage.problem(&NewOrder::of(form).expect("an order"));
            assert_eq!(problem.status(), 409);
            let answer = problem.answer(&wasmyard_guest::Request::default());
            let answer = String::from_utf8(answer.body).expect("UTF-8");
            assert!(answer.contains(&format!(r#""pointer":"{pointer}""#)), "{answer}");
            assert!(answer.contains(r#""available":4"#) && answer.contains(r#""requested":5"#), "{answer}");
        }
        assert_eq!(Shortage::read(br#"{"status":409,"state":"released"}"#), None);
    }
}

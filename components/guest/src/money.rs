//! An amount of money, exact to the cent.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{Field, FromValue, Value};

/// The largest amount in cents: what `DECIMAL(10,2)` holds, 99,999,999.99.
const CENTS_MAX: i64 = 9_999_999_999;
/// Decimals of the currency.
const DECIMALS: u32 = 2;

/// An amount with two decimals. It is `numeric` in SQL and a JSON number with two
/// digits on the wire (`999.00`); a float never touches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(value_type = f64, minimum = 0, maximum = 99999999.99, multiple_of = 0.01, example = 299.99)]
pub struct Money(Decimal);

impl Money {
    /// No money.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// The largest amount there is.
    pub fn max() -> Self {
        Self(Decimal::new(CENTS_MAX, DECIMALS))
    }

    /// An amount of the database; `None` when it has more than two decimals.
    pub fn exact(amount: Decimal) -> Option<Self> {
        (amount.normalize().scale() <= DECIMALS).then_some(Self(amount))
    }

    /// The amount as a number.
    pub fn decimal(self) -> Decimal {
        self.0
    }

    /// A price or a total that a client gave: from 0, with at most two decimals.
    /// `299.990` and `1e3` are exact amounts, and taken.
    ///
    /// # Errors
    ///
    /// Says which of this it is not.
    pub fn read(field: Field<'_>) -> Result<Self, String> {
        let outside = || format!("must be from 0 to {}", Self::max());
        let amount = field.decimal(DECIMALS, "must have at most two decimals", &outside)?;
        let allowed = Decimal::ZERO..=Self::max().0;
        if allowed.contains(&amount) { Ok(Self(amount)) } else { Err(outside()) }
    }

    /// The same of an amount that stands in a query: `?min_price=9.99`.
    ///
    /// # Errors
    ///
    /// As [`Money::read`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let number: &RawValue = serde_json::from_str(text).map_err(|_| "must be a number")?;
        Self::read(Field::new(number))
    }

    /// So many times this amount; `None` beyond the largest.
    pub fn times(self, count: i32) -> Option<Self> {
        let product = Self(self.0.checked_mul(count.into())?);
        (product <= Self::max()).then_some(product)
    }

    /// Both together; `None` beyond the largest.
    pub fn plus(self, other: Self) -> Option<Self> {
        let sum = Self(self.0.checked_add(other.0)?);
        (sum <= Self::max()).then_some(sum)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.0)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = RawValue::from_string(self.to_string()).map_err(serde::ser::Error::custom)?;
        digits.serialize(serializer)
    }
}

impl From<Money> for Value {
    fn from(amount: Money) -> Self {
        Self::Numeric(amount.to_string())
    }
}

impl FromValue<'_> for Money {
    const TYPE: &'static str = "numeric with at most two decimals";

    fn from_value(value: &Value) -> Option<Self> {
        let Value::Numeric(digits) = value else { return None };
        Self::exact(Decimal::from_str_exact(digits).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        let raw: &RawValue = serde_json::from_str(text).expect("JSON");
        Money::read(Field::new(raw)).map(|amount| amount.to_string())
    }

    #[test]
    fn amounts_are_read_to_the_cent() {
        let table = [
            ("299.99", "299.99"),
            ("1998.00", "1998.00"),
            ("1e3", "1000.00"),
            ("0", "0.00"),
            ("-0", "0.00"),
            ("0.1", "0.10"),
            ("5.000", "5.00"),
            ("99999999.99", "99999999.99"),
        ];
        for (text, amount) in table {
            assert_eq!(read(text).as_deref(), Ok(amount), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["1.999", "0.001", "1e-3"] {
            assert_eq!(read(text), Err("must have at most two decimals".into()), "{text}");
        }
        for text in ["-0.01", "100000000", "1e400", "99999999999999999999999999999"] {
            assert_eq!(read(text), Err("must be from 0 to 99999999.99".into()), "{text}");
        }
        for text in ["\"9.99\"", "null", "true", "[]"] {
            assert_eq!(read(text), Err("must be a number".into()), "{text}");
        }
    }

    #[test]
    fn an_amount_in_a_query_is_read_as_in_a_body() {
        assert_eq!(Money::parse("9.90").map(|amount| amount.to_string()).as_deref(), Ok("9.90"));
        for text in ["", "ten", "\"9\"", "9,90", "-1", "0.001", "NaN", "1e400", "9.90 OR 1=1"] {
            assert!(Money::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_total_is_exact_and_bounded() {
        let price = Money(Decimal::new(99_99, 2));
        assert_eq!(price.times(5).map(|total| total.to_string()).as_deref(), Some("499.95"));
        assert_eq!(Money(Decimal::new(1, 2)).times(10_000).map(|t| t.to_string()).as_deref(), Some("100.00"));
        assert_eq!(Money::max().times(2), None);
        assert_eq!(Money::max().times(i32::MAX), None);
    }

    #[test]
    fn an_amount_travels_as_digits() {
        let amount = Money(Decimal::new(999, 0));
        assert_eq!(serde_json::to_string(&[amount]).expect("JSON"), "[999.00]");
        assert_eq!(Value::from(amount), Value::Numeric("999.00".into()));
        assert_eq!(Money::from_value(&Value::Numeric("999.00".into())), Some(amount));
        assert_eq!(Money::from_value(&Value::Numeric("NaN".into())), None);
        assert_eq!(Money::from_value(&Value::Float64(999.0)), None);
    }
}

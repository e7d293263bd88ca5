//! The exact value of a JSON number.

use rust_decimal::Decimal;

/// Why a number has no exact value here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// More than 18 digits before the point: beyond any column of the shop.
    TooLarge,
    /// More than 9 digits after the point.
    TooFine,
}

/// Digits before and after the point; together they fit the 28 of a [`Decimal`].
const INTEGER_DIGITS_MAX: i64 = 18;
const DECIMALS_MAX: i64 = 9;

/// The value of a number written as RFC 8259, section 6, has it, with the least
/// scale: `1.50e1` is `15`. No float is involved, so nothing is rounded.
pub(crate) fn exact(number: &str) -> Result<Decimal, Unfit> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (sign, magnitude) = match mantissa.strip_prefix('-') {
        Some(magnitude) => (-1, magnitude),
        None => (1, mantissa),
    };
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    if significant.trim_start_matches('0').is_empty() {
        return Ok(Decimal::ZERO);
    }
    let dropped = length(digits.len() - significant.len());
    let significant = significant.trim_start_matches('0');

    // The value is `significant` times ten to the `power`. An exponent beyond 64
    // bits is as good as infinite.
    let exponent = exponent.parse().unwrap_or(if exponent.starts_with('-') { i64::MIN } else { i64::MAX });
    let power = exponent.saturating_add(dropped).saturating_sub(length(fraction.len()));
    if length(significant.len()).saturating_add(power) > INTEGER_DIGITS_MAX {
        return Err(Unfit::TooLarge);
    }
    if power < -DECIMALS_MAX {
        return Err(Unfit::TooFine);
    }
    let zeros = usize::try_from(power).unwrap_or(0);
    let scale = u32::try_from(-power).unwrap_or(0);
    let unscaled = format!("{significant}{}", "0".repeat(zeros)).parse::<i128>();
    Ok(Decimal::from_i128_with_scale(sign * unscaled.map_err(|_| Unfit::TooLarge)?, scale))
}

fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_value_however_it_is_written() {
        let table = [
            ("0", "0"),
            ("-0.000", "0"),
            ("0e999999999999999999999", "0"),
            ("299.99", "299.99"),
            ("299.990", "299.99"),
            ("1998.00", "1998"),
            ("1e3", "1000"),
            ("1E+3", "1000"),
            ("1.50e1", "15"),
            ("12345e-2", "123.45"),
            ("0.000000001", "0.000000001"),
            ("-12.5", "-12.5"),
            ("999999999999999999.999999999", "999999999999999999.999999999"),
            ("0.1", "0.1"),
        ];
        for (text, value) in table {
            assert_eq!(exact(text).map(|value| value.to_string()).as_deref(), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_told_apart() {
        for text in ["1e18", "1234567890123456789", "1e999999999999999999999", "-1e400", "123456789012e30"] {
            assert_eq!(exact(text), Err(Unfit::TooLarge), "{text}");
        }
        for text in ["0.0000000001", "1e-10", "1e-999999999999999999999", "1.0000000001"] {
            assert_eq!(exact(text), Err(Unfit::TooFine), "{text}");
        }
    }
}

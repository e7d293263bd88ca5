//! `numeric` from its binary form to its exact decimal digits.
//!
//! The form is that of `numeric_send` in PostgreSQL: the count of base-10000
//! digits, the weight of the first one, the sign, the scale for display, then the
//! digits, all 16 bits wide.

use std::fmt::Write as _;

/// The decimal text, with as many digits after the point as the scale says.
/// `None` when the bytes are not a numeric.
pub(super) fn decode(raw: &[u8]) -> Option<String> {
    let (header, digits) = raw.split_at_checked(8)?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (count, weight, sign, scale) = (word(0), word(2).cast_signed(), word(4), word(6));
    let negative = match sign {
        0x0000 => false,
        0x4000 => true,
        0xC000 => return Some("NaN".to_owned()),
        0xD000 => return Some("Infinity".to_owned()),
        0xF000 => return Some("-Infinity".to_owned()),
        _ => return None,
    };
    if digits.len() != usize::from(count) * 2 {
        return None;
    }
    let group = |index: i32| -> u16 {
        let at = usize::try_from(index).ok().map(|index| index * 2);
        at.and_then(|at| digits.get(at..at + 2)).map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
    };

    let weight = i32::from(weight);
    let scale = usize::from(scale);
    let mut text = String::with_capacity(digits.len() * 2 + scale + 4);
    if negative {
        text.push('-');
    }
    if weight < 0 {
        text.push('0');
    } else {
        let _ = write!(text, "{}", group(0));
        for index in 1..=weight {
            let _ = write!(text, "{:04}", group(index));
        }
    }
    if scale > 0 {
        text.push('.');
        let end = text.len() + scale;
        let mut index = weight + 1;
        while text.len() < end {
            let _ = write!(text, "{:04}", group(index));
            index += 1;
        }
        text.truncate(end);
    }
    Some(text)
}

/// Whether a text is a numeric as the contract has it: digits with an optional sign
/// and point, an exponent, or one of the special values.
pub(super) fn is_numeric(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(text, "NaN") || matches!(unsigned, "Infinity") {
        return true;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    !(whole.is_empty() && fraction.is_empty()) && digits(whole) && digits(fraction) && exponent_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> Vec<u8> {
        let count = u16::try_from(digits.len()).expect("few");
        [count, weight.cast_unsigned(), sign, scale]
            .iter()
            .chain(digits)
            .flat_map(|word| word.to_be_bytes())
            .collect()
    }

    #[test]
    fn keeps_scale_and_sign() {
        assert_eq!(decode(&binary(0, 0, 2, &[999])).as_deref(), Some("999.00"));
        assert_eq!(decode(&binary(0, 0x4000, 1, &[1, 5000])).as_deref(), Some("-1.5"));
        assert_eq!(decode(&binary(-1, 0, 4, &[1])).as_deref(), Some("0.0001"));
        assert_eq!(decode(&binary(-2, 0, 8, &[12])).as_deref(), Some("0.00000012"));
        assert_eq!(decode(&binary(1, 0, 0, &[1])).as_deref(), Some("10000"));
        assert_eq!(decode(&binary(0, 0, 0, &[])).as_deref(), Some("0"));
        assert_eq!(decode(&binary(0, 0xC000, 0, &[])).as_deref(), Some("NaN"));
        assert_eq!(decode(&[0, 1]), None);
        assert_eq!(decode(&binary(0, 0, 2, &[999])[..9]), None);
    }

    #[test]
    fn accepts_only_numbers() {
        for good in ["0", "-1", "+1.50", ".5", "5.", "1e10", "1.5E-3", "NaN", "-Infinity"] {
            assert!(is_numeric(good), "{good}");
        }
        for bad in ["", ".", "1,5", "0x10", "1e", "--1", " 1", "1; DROP", "Infinite"] {
            assert!(!is_numeric(bad), "{bad}");
        }
    }
}

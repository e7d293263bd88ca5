//! Parameters on their way to the database: each is converted to the type that the
//! statement asks for, where nothing is lost, and refused otherwise.

use std::error::Error as StdError;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type, to_sql_checked};

use super::numeric::is_numeric;
use super::{Error, Value};

/// Days from 1970-01-01 to PostgreSQL's epoch, 2000-01-01.
pub(super) const EPOCH_DAYS: i32 = 10_957;
/// Microseconds of a day.
pub(super) const DAY_US: i64 = 86_400_000_000;
/// Microseconds from 1970-01-01 to PostgreSQL's epoch.
pub(super) const EPOCH_US: i64 = EPOCH_DAYS as i64 * DAY_US;
/// The first moment that a timestamp can hold, 4714-11-24 BC, from that epoch.
const TIMESTAMP_MIN: i64 = -211_813_488_000_000_000;
/// The first day that a date can hold, from that epoch.
const DATE_MIN: i32 = -2_451_545;
/// The last one: 5874897-12-31.
const DATE_MAX: i32 = 2_145_031_948;

/// A parameter in the form in which it is sent.
#[derive(Debug)]
pub(super) struct Encoded {
    format: Format,
    /// `None` is NULL.
    bytes: Option<Vec<u8>>,
}

/// Converts all parameters of a statement; the first that does not fit is named.
pub(super) fn encode_all(params: &[Value], types: &[Type]) -> Result<Vec<Encoded>, Error> {
    if params.len() != types.len() {
        let index = u32::try_from(params.len().min(types.len()) + 1).unwrap_or(u32::MAX);
        let why = format!("the statement asks for {} parameters, {} given", types.len(), params.len());
        return Err(Error::BadParameter((index, why)));
    }
    let numbered = params.iter().zip(types).zip(1..);
    numbered
        .map(|((value, ty), index)| encode(value, ty).map_err(|why| Error::BadParameter((index, why))))
        .collect()
}

fn encode(value: &Value, ty: &Type) -> Result<Encoded, String> {
    // A domain's values travel in the form of the type it is made of.
    if let Kind::Domain(base) = ty.kind() {
        return encode(value, base);
    }
    match value {
        Value::Null => Ok(Encoded { format: Format::Binary, bytes: None }),
        Value::Boolean(value) => boolean(*value, ty),
        Value::Int16(value) => integer((*value).into(), ty),
        Value::Int32(value) => integer((*value).into(), ty),
        Value::Int64(value) => integer(*value, ty),
        Value::Float32(value) => float((*value).into(), ty),
        Value::Float64(value) => float(*value, ty),
        Value::Numeric(value) => numeric(value, ty),
        Value::Text(value) => text(value, ty),
        Value::Bytes(value) if *ty == Type::BYTEA => Ok(binary(value.clone())),
        Value::Bytes(_) => Err(mismatch("bytes", ty)),
        Value::Uuid(value) => uuid(value, ty),
        Value::Timestamp(value) => timestamp(*value, ty),
        Value::Date(value) => date(*value, ty),
        Value::Json(value) => json(value, ty),
        Value::BooleanArray(items) => array(items, ty, |item, ty| boolean(*item, ty)),
        Value::Int32Array(items) => array(items, ty, |item, ty| integer((*item).into(), ty)),
        Value::Int64Array(items) => array(items, ty, |item, ty| integer(*item, ty)),
        Value::Float64Array(items) => array(items, ty, |item, ty| float(*item, ty)),
        Value::TextArray(items) => array(items, ty, |item, ty| text(item, ty)),
        Value::UuidArray(items) => array(items, ty, |item, ty| uuid(item, ty)),
    }
}

fn boolean(value: bool, ty: &Type) -> Result<Encoded, String> {
    if *ty == Type::BOOL { Ok(binary(vec![value.into()])) } else { Err(mismatch("a boolean", ty)) }
}

fn integer(value: i64, ty: &Type) -> Result<Encoded, String> {
    let range = || format!("{value} is out of range for {ty}");
    match *ty {
        Type::INT2 => Ok(binary(i16::try_from(value).map_err(|_| range())?.to_be_bytes().to_vec())),
        Type::INT4 => Ok(binary(i32::try_from(value).map_err(|_| range())?.to_be_bytes().to_vec())),
        Type::INT8 => Ok(binary(value.to_be_bytes().to_vec())),
        Type::OID => Ok(binary(u32::try_from(value).map_err(|_| range())?.to_be_bytes().to_vec())),
        Type::NUMERIC => Ok(as_text(value.to_string())),
        Type::FLOAT4 | Type::FLOAT8 => {
            let bits: u32 = if *ty == Type::FLOAT4 { 24 } else { 53 };
            if value.unsigned_abs() > 1 << bits {
                return Err(format!("{value} is not exact as {ty}"));
            }
            #[expect(clippy::cast_precision_loss, reason = "the mantissa holds it, as was just checked")]
            float(value as f64, ty)
        }
        _ => Err(mismatch("an integer", ty)),
    }
}

fn float(value: f64, ty: &Type) -> Result<Encoded, String> {
    match *ty {
        Type::FLOAT8 => Ok(binary(value.to_be_bytes().to_vec())),
        Type::FLOAT4 => {
            #[expect(clippy::cast_possible_truncation, reason = "checked by the way back")]
            let narrow = value as f32;
            if f64::from(narrow).to_bits() != value.to_bits() && !value.is_nan() {
                return Err(format!("{value} is not exact as {ty}"));
            }
            Ok(binary(narrow.to_be_bytes().to_vec()))
        }
        // Every float of this size is a whole number or has an exact one within.
        Type::INT2 | Type::INT4 | Type::INT8
            if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "whole, and within 53 bits")]
            integer(value as i64, ty)
        }
        _ => Err(mismatch("a float", ty)),
    }
}

fn numeric(value: &str, ty: &Type) -> Result<Encoded, String> {
    if !is_numeric(value) {
        return Err("not a decimal number".to_owned());
    }
    match *ty {
        Type::NUMERIC => Ok(as_text(value.to_owned())),
        Type::INT2 | Type::INT4 | Type::INT8 => {
            let whole = value.split_once('.').map_or(value, |(whole, fraction)| {
                if fraction.bytes().all(|digit| digit == b'0') { whole } else { value }
            });
            let whole = whole.parse().map_err(|_| format!("{value} is not a whole number that fits {ty}"))?;
            integer(whole, ty)
        }
        _ => Err(mismatch("a numeric", ty)),
    }
}

fn text(value: &str, ty: &Type) -> Result<Encoded, String> {
    if value.contains('\0') {
        return Err("text holds no NUL byte".to_owned());
    }
    match *ty {
        Type::UUID => uuid(value, ty),
        Type::NUMERIC => numeric(value, ty),
        _ if is_text(ty) => Ok(binary(value.as_bytes().to_vec())),
        // These have a value of their own; text for them is a mistake to be told.
        Type::BOOL
        | Type::INT2
        | Type::INT4
        | Type::INT8
        | Type::OID
        | Type::FLOAT4
        | Type::FLOAT8
        | Type::BYTEA
        | Type::TIMESTAMP
        | Type::TIMESTAMPTZ
        | Type::DATE
        | Type::JSON
        | Type::JSONB => Err(mismatch("text", ty)),
        // An interval, an address, a tsquery: the database reads its own notation.
        _ if matches!(ty.kind(), Kind::Simple | Kind::Pseudo | Kind::Range(_)) => {
            Ok(as_text(value.to_owned()))
        }
        _ => Err(mismatch("text", ty)),
    }
}

fn uuid(value: &str, ty: &Type) -> Result<Encoded, String> {
    let parsed = uuid::Uuid::parse_str(value).map_err(|_| "not a UUID".to_owned())?;
    match *ty {
        Type::UUID => Ok(binary(parsed.as_bytes().to_vec())),
        _ if is_text(ty) => Ok(binary(value.as_bytes().to_vec())),
        _ => Err(mismatch("a UUID", ty)),
    }
}

fn timestamp(value: i64, ty: &Type) -> Result<Encoded, String> {
    match *ty {
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            let since = value.checked_sub(EPOCH_US).filter(|since| *since >= TIMESTAMP_MIN);
            let since = since.ok_or_else(|| format!("{value} is out of range for {ty}"))?;
            Ok(binary(since.to_be_bytes().to_vec()))
        }
        Type::DATE if value % DAY_US == 0 => {
            date(i32::try_from(value / DAY_US).map_err(|_| "out of range for date".to_owned())?, ty)
        }
        _ => Err(mismatch("a timestamp", ty)),
    }
}

fn date(value: i32, ty: &Type) -> Result<Encoded, String> {
    match *ty {
        Type::DATE => {
            let since = value.checked_sub(EPOCH_DAYS).filter(|since| (DATE_MIN..=DATE_MAX).contains(since));
            let since = since.ok_or_else(|| format!("{value} is out of range for {ty}"))?;
            Ok(binary(since.to_be_bytes().to_vec()))
        }
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            let us = i64::from(value).checked_mul(DAY_US);
            timestamp(us.ok_or_else(|| format!("{value} is out of range for {ty}"))?, ty)
        }
        _ => Err(mismatch("a date", ty)),
    }
}

fn json(value: &str, ty: &Type) -> Result<Encoded, String> {
    if value.contains('\0') {
        return Err("JSON holds no NUL byte".to_owned());
    }
    match *ty {
        Type::JSON | Type::JSONB => Ok(as_text(value.to_owned())),
        _ if is_text(ty) => Ok(binary(value.as_bytes().to_vec())),
        _ => Err(mismatch("JSON", ty)),
    }
}

/// The binary form of an array with one dimension: the number of dimensions, whether
/// there are NULLs, the elements' type, their count, the lower bound, the elements.
fn array<T>(
    items: &[Option<T>],
    ty: &Type,
    one: impl Fn(&T, &Type) -> Result<Encoded, String>,
) -> Result<Encoded, String> {
    let Kind::Array(member) = ty.kind() else { return Err(mismatch("an array", ty)) };
    let element = match member.kind() {
        Kind::Domain(base) => base,
        _ => member,
    };
    let count = i32::try_from(items.len()).map_err(|_| "too many elements".to_owned())?;
    let mut out = Vec::with_capacity(20 + items.len() * 8);
    out.put_i32((count > 0).into());
    out.put_i32(items.iter().any(Option::is_none).into());
    out.put_u32(member.oid());
    if count > 0 {
        out.put_i32(count);
        out.put_i32(1);
    }
    for item in items {
        let Some(item) = item else {
            out.put_i32(-1);
            continue;
        };
        let Encoded { format: Format::Binary, bytes: Some(bytes) } = one(item, element)? else {
            return Err(format!("an array of {element} is not built from these; cast it in SQL"));
        };
        out.put_i32(i32::try_from(bytes.len()).map_err(|_| "an element is too long".to_owned())?);
        out.put_slice(&bytes);
    }
    Ok(binary(out))
}

/// Types whose binary form is the text itself.
pub(super) fn is_text(ty: &Type) -> bool {
    matches!(*ty, Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN)
        || matches!(ty.kind(), Kind::Enum(_))
        || (ty.name() == "citext" && *ty.kind() == Kind::Simple)
}

fn binary(bytes: Vec<u8>) -> Encoded {
    Encoded { format: Format::Binary, bytes: Some(bytes) }
}

fn as_text(text: String) -> Encoded {
    Encoded { format: Format::Text, bytes: Some(text.into_bytes()) }
}

fn mismatch(given: &str, ty: &Type) -> String {
    format!("{given} given where the statement asks for {ty}")
}

impl ToSql for Encoded {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        Ok(match &self.bytes {
            Some(bytes) => {
                out.extend_from_slice(bytes);
                IsNull::No
            }
            None => IsNull::Yes,
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        self.format
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(value: &Value, ty: Type) -> String {
        let Err(Error::BadParameter((1, why))) = encode_all(std::slice::from_ref(value), &[ty]) else {
            panic!("{value:?} was accepted")
        };
        why
    }

    #[test]
    fn integers_are_checked_against_their_range() {
        assert!(why(&Value::Int64(1 << 40), Type::INT4).contains("out of range"));
        assert!(why(&Value::Int32(-1), Type::OID).contains("out of range"));
        assert!(why(&Value::Int64((1 << 53) + 1), Type::FLOAT8).contains("not exact"));
        assert!(encode_all(&[Value::Int64(7)], &[Type::INT2]).is_ok());
    }

    #[test]
    fn what_would_lose_something_is_refused() {
        for (value, ty) in [
            (Value::Float64(0.1), Type::FLOAT4),
            (Value::Float64(0.1), Type::NUMERIC),
            (Value::Float64(1.5), Type::INT4),
            (Value::Numeric("1.50".into()), Type::INT4),
            (Value::Numeric("1.5".into()), Type::FLOAT8),
            (Value::Numeric("1,5".into()), Type::NUMERIC),
            (Value::Text("a\0b".into()), Type::TEXT),
            (Value::Text("1".into()), Type::INT4),
            (Value::Json("\0".into()), Type::JSONB),
            (Value::Uuid("no".into()), Type::UUID),
            (Value::Timestamp(1), Type::DATE),
            (Value::Timestamp(i64::MIN), Type::TIMESTAMPTZ),
            (Value::Date(i32::MAX), Type::DATE),
            (Value::Boolean(true), Type::INT4),
            (Value::Bytes(vec![1]), Type::TEXT),
            (Value::Int32Array(vec![Some(1)]), Type::INT4),
            (Value::Int64Array(vec![Some(1 << 40)]), Type::INT4_ARRAY),
            (Value::TextArray(vec![Some("1".into())]), Type::NUMERIC_ARRAY),
        ] {
            why(&value, ty);
        }
    }

    #[test]
    fn the_count_must_match() {
        let error = encode_all(&[], &[Type::INT4, Type::TEXT]).expect_err("none given");
        let told = "the statement asks for 2 parameters, 0 given";
        assert!(matches!(error, Error::BadParameter((1, text)) if text == told));
        let error = encode_all(&[Value::Null, Value::Null], &[Type::INT4]).expect_err("one too many");
        assert!(matches!(error, Error::BadParameter((2, _))));
    }
}

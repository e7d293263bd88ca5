//! Rows on their way to the guest: which column types have a value, and how each is
//! read from its binary form.

use std::error::Error as StdError;

use tokio_postgres::types::{FromSql, Kind, Type};
use tokio_postgres::{Column, Row};

use super::numeric;
use super::param::{EPOCH_DAYS, EPOCH_US, is_text};
use super::{Error, RowSet, Value};
use crate::limits::{POSTGRES_RESULT_BYTES_MAX, POSTGRES_ROWS_MAX};

/// What a value costs beside its bytes, so that a million NULLs are not free.
const VALUE_OVERHEAD_BYTES: usize = 8;

/// How to read one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Void,
    Boolean,
    Int16,
    Int32,
    Int64,
    Oid,
    Float32,
    Float64,
    Numeric,
    Text,
    Bytes,
    Uuid,
    Timestamp,
    Date,
    Json,
    Jsonb,
    Array(Element),
}

/// How to read an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Boolean,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Text,
    Uuid,
}

/// How to read a statement's rows; made once, when it is prepared.
#[derive(Debug)]
pub(super) struct Columns {
    names: Vec<String>,
    readers: Vec<Reader>,
}

/// Rows as they come in, within the bounds of one answer.
pub(super) struct Rows {
    rows: Vec<Vec<Value>>,
    bytes: usize,
}

impl Columns {
    /// Refuses a column whose type has no value, before anything is executed.
    pub(super) fn new(columns: &[Column]) -> Result<Self, Error> {
        let reader = |column: &Column| {
            reader(column.type_()).ok_or_else(|| unsupported(column.name(), column.type_().to_string()))
        };
        Ok(Self {
            names: columns.iter().map(|column| column.name().to_owned()).collect(),
            readers: columns.iter().map(reader).collect::<Result<_, _>>()?,
        })
    }

    fn value(&self, index: usize, raw: Option<&[u8]>) -> Result<Value, Error> {
        let Some(raw) = raw else { return Ok(Value::Null) };
        self.readers[index].read(raw).map_err(|what| unsupported(&self.names[index], what.to_owned()))
    }
}

impl Rows {
    pub(super) fn new() -> Self {
        Self { rows: Vec::new(), bytes: 0 }
    }

    /// Adds a row, or says that the answer has become too large.
    pub(super) fn push(&mut self, columns: &Columns, row: &Row) -> Result<(), Error> {
        self.bytes += row.raw_size_bytes() + columns.readers.len() * VALUE_OVERHEAD_BYTES;
        if self.rows.len() == POSTGRES_ROWS_MAX || self.bytes > POSTGRES_RESULT_BYTES_MAX {
            return Err(Error::TooLarge);
        }
        let value = |index| {
            let Raw(raw) = row.try_get(index).unwrap_or(Raw(None));
            columns.value(index, raw)
        };
        self.rows.push((0..columns.readers.len()).map(value).collect::<Result<_, _>>()?);
        Ok(())
    }

    pub(super) fn finish(self, columns: &Columns) -> RowSet {
        RowSet { columns: columns.names.clone(), rows: self.rows }
    }
}

impl Reader {
    /// `Err` names what the value turned out to be.
    fn read(self, raw: &[u8]) -> Result<Value, &'static str> {
        let broken = "malformed value";
        Ok(match self {
            Self::Void => Value::Null,
            Self::Boolean => Value::Boolean(u8::from_be_bytes(fixed(raw)?) != 0),
            Self::Int16 => Value::Int16(i16::from_be_bytes(fixed(raw)?)),
            Self::Int32 => Value::Int32(i32::from_be_bytes(fixed(raw)?)),
            Self::Int64 => Value::Int64(i64::from_be_bytes(fixed(raw)?)),
            Self::Oid => Value::Int64(u32::from_be_bytes(fixed(raw)?).into()),
            Self::Float32 => Value::Float32(f32::from_be_bytes(fixed(raw)?)),
            Self::Float64 => Value::Float64(f64::from_be_bytes(fixed(raw)?)),
            Self::Numeric => Value::Numeric(numeric::decode(raw).ok_or(broken)?),
            Self::Text => Value::Text(string(raw)?),
            Self::Bytes => Value::Bytes(raw.to_vec()),
            Self::Uuid => Value::Uuid(uuid(raw)?),
            Self::Timestamp => {
                let since = i64::from_be_bytes(fixed(raw)?);
                // The ends of the range stand for infinity.
                let finite = (since != i64::MAX && since != i64::MIN).then_some(since);
                let us = finite.and_then(|since| since.checked_add(EPOCH_US));
                Value::Timestamp(us.ok_or("timestamp without a finite value")?)
            }
            Self::Date => {
                let since = i32::from_be_bytes(fixed(raw)?);
                let finite = (since != i32::MAX && since != i32::MIN).then_some(since);
                let days = finite.and_then(|since| since.checked_add(EPOCH_DAYS));
                Value::Date(days.ok_or("date without a finite value")?)
            }
            Self::Json => Value::Json(string(raw)?),
            // The binary form has its version, 1, in front.
            Self::Jsonb => Value::Json(string(raw.strip_prefix(&[1]).ok_or(broken)?)?),
            Self::Array(element) => element.read(raw)?,
        })
    }
}

impl Element {
    fn read(self, raw: &[u8]) -> Result<Value, &'static str> {
        Ok(match self {
            Self::Boolean => Value::BooleanArray(array(raw, |raw| Ok(u8::from_be_bytes(fixed(raw)?) != 0))?),
            Self::Int16 => Value::Int32Array(array(raw, |raw| Ok(i16::from_be_bytes(fixed(raw)?).into()))?),
            Self::Int32 => Value::Int32Array(array(raw, |raw| Ok(i32::from_be_bytes(fixed(raw)?)))?),
            Self::Int64 => Value::Int64Array(array(raw, |raw| Ok(i64::from_be_bytes(fixed(raw)?)))?),
            Self::Float32 => {
                Value::Float64Array(array(raw, |raw| Ok(f32::from_be_bytes(fixed(raw)?).into()))?)
            }
            Self::Float64 => Value::Float64Array(array(raw, |raw| Ok(f64::from_be_bytes(fixed(raw)?)))?),
            Self::Text => Value::TextArray(array(raw, string)?),
            Self::Uuid => Value::UuidArray(array(raw, uuid)?),
        })
    }
}

fn reader(ty: &Type) -> Option<Reader> {
    if let Kind::Domain(base) = ty.kind() {
        return reader(base);
    }
    if is_text(ty) {
        return Some(Reader::Text);
    }
    if let Kind::Array(member) = ty.kind() {
        return Some(Reader::Array(match reader(member)? {
            Reader::Boolean => Element::Boolean,
            Reader::Int16 => Element::Int16,
            Reader::Int32 => Element::Int32,
            Reader::Int64 => Element::Int64,
            Reader::Float32 => Element::Float32,
            Reader::Float64 => Element::Float64,
            Reader::Text => Element::Text,
            Reader::Uuid => Element::Uuid,
            _ => return None,
        }));
    }
    Some(match *ty {
        Type::VOID => Reader::Void,
        Type::BOOL => Reader::Boolean,
        Type::INT2 => Reader::Int16,
        Type::INT4 => Reader::Int32,
        Type::INT8 => Reader::Int64,
        Type::OID => Reader::Oid,
        Type::FLOAT4 => Reader::Float32,
        Type::FLOAT8 => Reader::Float64,
        Type::NUMERIC => Reader::Numeric,
        Type::BYTEA => Reader::Bytes,
        Type::UUID => Reader::Uuid,
        Type::TIMESTAMP | Type::TIMESTAMPTZ => Reader::Timestamp,
        Type::DATE => Reader::Date,
        Type::JSON => Reader::Json,
        Type::JSONB => Reader::Jsonb,
        _ => return None,
    })
}

/// An array's elements, from the form that `param::array` writes.
fn array<T>(
    raw: &[u8],
    one: impl Fn(&[u8]) -> Result<T, &'static str>,
) -> Result<Vec<Option<T>>, &'static str> {
    let (dimensions, rest) = number(raw)?;
    if dimensions == 0 {
        return Ok(Vec::new());
    }
    if dimensions != 1 {
        return Err("array of several dimensions");
    }
    let (_has_null, rest) = number(rest)?;
    let (_element, rest) = number(rest)?;
    let (count, rest) = number(rest)?;
    let (_lower_bound, mut rest) = number(rest)?;
    let mut items = Vec::new();
    for _ in 0..count {
        let (length, after) = number(rest)?;
        let Ok(length) = usize::try_from(length) else {
            items.push(None);
            rest = after;
            continue;
        };
        let (item, after) = after.split_at_checked(length).ok_or("malformed array")?;
        items.push(Some(one(item)?));
        rest = after;
    }
    Ok(items)
}

fn number(raw: &[u8]) -> Result<(i32, &[u8]), &'static str> {
    let (head, rest) = raw.split_first_chunk().ok_or("malformed array")?;
    Ok((i32::from_be_bytes(*head), rest))
}

fn fixed<const N: usize>(raw: &[u8]) -> Result<[u8; N], &'static str> {
    raw.try_into().map_err(|_| "malformed value")
}

fn string(raw: &[u8]) -> Result<String, &'static str> {
    String::from_utf8(raw.to_vec()).map_err(|_| "text that is not UTF-8")
}

fn uuid(raw: &[u8]) -> Result<String, &'static str> {
    Ok(uuid::Uuid::from_bytes(fixed(raw)?).to_string())
}

fn unsupported(column: &str, what: String) -> Error {
    Error::UnsupportedType((column.to_owned(), what))
}

/// A value's bytes as they came, whatever its type.
struct Raw<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

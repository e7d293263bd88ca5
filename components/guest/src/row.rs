//! Reading rows into types.

use std::fmt;

use crate::bindings::wasmyard::platform::postgres::{RowSet, Value};
use crate::{Problem, Timestamp};

/// One row of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    columns: &'a [String],
    values: &'a [Value],
}

impl<'a> Row<'a> {
    /// The value of a column.
    ///
    /// # Errors
    ///
    /// When there is no such column, or its value is of another type: the statement
    /// and the code that reads it do not agree.
    pub fn get<T: FromValue<'a>>(&self, column: &str) -> Result<T, RowError> {
        let index = self.columns.iter().position(|name| name == column);
        let value = index.and_then(|index| self.values.get(index));
        value.and_then(T::from_value).ok_or_else(|| RowError {
            column: column.to_owned(),
            wanted: T::TYPE,
            found: value.map(kind),
        })
    }
}

impl RowSet {
    /// Every row, read by a function.
    ///
    /// # Errors
    ///
    /// The first row that could not be read.
    pub fn all<T>(&self, read: impl Fn(Row<'_>) -> Result<T, RowError>) -> Result<Vec<T>, RowError> {
        self.rows.iter().map(|values| read(Row { columns: &self.columns, values })).collect()
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    ///
    /// When it could not be read.
    pub fn first<T>(&self, read: impl Fn(Row<'_>) -> Result<T, RowError>) -> Result<Option<T>, RowError> {
        self.rows.first().map(|values| read(Row { columns: &self.columns, values })).transpose()
    }
}

/// A type that a column's value can be read as.
pub trait FromValue<'a>: Sized {
    /// The SQL type, as an error names it.
    const TYPE: &'static str;

    /// Reads a value; `None` when it is of another type.
    fn from_value(value: &'a Value) -> Option<Self>;
}

impl FromValue<'_> for i32 {
    const TYPE: &'static str = "integer";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int16(number) => Some((*number).into()),
            Value::Int32(number) => Some(*number),
            _ => None,
        }
    }
}

impl FromValue<'_> for i64 {
    const TYPE: &'static str = "bigint";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int64(number) => Some(*number),
            other => i32::from_value(other).map(Into::into),
        }
    }
}

impl FromValue<'_> for bool {
    const TYPE: &'static str = "boolean";

    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Boolean(truth) = value { Some(*truth) } else { None }
    }
}

impl<'a> FromValue<'a> for &'a str {
    const TYPE: &'static str = "text";

    fn from_value(value: &'a Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(text) } else { None }
    }
}

impl FromValue<'_> for String {
    const TYPE: &'static str = "text";

    fn from_value(value: &Value) -> Option<Self> {
        <&str>::from_value(value).map(str::to_owned)
    }
}

impl FromValue<'_> for Timestamp {
    const TYPE: &'static str = "timestamp";

    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Timestamp(microseconds) = value { Self::from_microseconds(*microseconds) } else { None }
    }
}

/// NULL is `None`; without the `Option`, NULL is an error.
impl<'a, T: FromValue<'a>> FromValue<'a> for Option<T> {
    const TYPE: &'static str = T::TYPE;

    fn from_value(value: &'a Value) -> Option<Self> {
        if matches!(value, Value::Null) { Some(None) } else { T::from_value(value).map(Some) }
    }
}

/// A column that is not what the code expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    column: String,
    wanted: &'static str,
    found: Option<&'static str>,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { column, wanted, found } = self;
        match found {
            Some(found) => write!(f, "column {column} is {found}, not {wanted}"),
            None => write!(f, "there is no column {column}"),
        }
    }
}

impl std::error::Error for RowError {}

impl From<RowError> for Problem {
    fn from(error: RowError) -> Self {
        Self::internal(error.to_string())
    }
}

/// A value's type, without the value: an error that is logged must not carry data.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL",
        Value::Boolean(_) => "boolean",
        Value::Int16(_) => "smallint",
        Value::Int32(_) => "integer",
        Value::Int64(_) => "bigint",
        Value::Float32(_) | Value::Float64(_) => "a float",
        Value::Numeric(_) => "numeric",
        Value::Text(_) => "text",
        Value::Timestamp(_) => "a timestamp",
        Value::Date(_) => "a date",
        _ => "of another type",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> RowSet {
        RowSet {
            columns: vec!["id".into(), "name".into(), "note".into()],
            rows: vec![vec![Value::Int32(7), Value::Text("ann".into()), Value::Null]],
        }
    }

    #[test]
    fn columns_are_read_by_name_and_type() {
        let read = rows().first(|row| Ok((row.get::<i32>("id")?, row.get::<String>("name")?)));
        assert_eq!(read, Ok(Some((7, "ann".into()))));
        assert_eq!(rows().all(|row| row.get::<Option<String>>("note")), Ok(vec![None]));
        assert_eq!(rows().all(|row| row.get::<i64>("id")), Ok(vec![7]));
    }

    #[test]
    fn a_mismatch_is_an_error_that_shows_no_data() {
        let message = |error: Option<RowError>| error.map(|error| error.to_string()).unwrap_or_default();
        let wrong = rows().first(|row| row.get::<i32>("name")).err();
        assert_eq!(message(wrong), "column name is text, not integer");
        let null = rows().first(|row| row.get::<String>("note")).err();
        assert_eq!(message(null), "column note is NULL, not text");
        let missing = rows().first(|row| row.get::<String>("age")).err();
        assert_eq!(message(missing), "there is no column age");
    }
}

//! A point in time.

use std::fmt;

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::Value;

/// A point in time to the microsecond, written as RFC 3339 has it, in UTC:
/// `2025-01-31T12:00:00.25Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2025-01-31T12:00:00.25Z")]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// From microseconds since 1970-01-01T00:00:00Z; `None` outside the years 0 to
    /// 9999, which RFC 3339 cannot write.
    pub fn from_microseconds(microseconds: i64) -> Option<Self> {
        const YEAR_ZERO: i64 = -62_167_219_200_000_000;
        let timestamp = jiff::Timestamp::from_microsecond(microseconds).ok()?;
        (microseconds >= YEAR_ZERO).then_some(Self(timestamp))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn microseconds(self) -> i64 {
        self.0.as_microsecond()
    }

    /// From milliseconds since 1970-01-01T00:00:00Z, with the same bounds.
    pub fn from_milliseconds(milliseconds: u64) -> Option<Self> {
        Self::from_microseconds(i64::try_from(milliseconds).ok()?.checked_mul(1_000)?)
    }
}

impl From<Timestamp> for Value {
    fn from(timestamp: Timestamp) -> Self {
        Self::Timestamp(timestamp.microseconds())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        let table = [
            (0, "1970-01-01T00:00:00Z"),
            (1_738_324_800_250_000, "2025-01-31T12:00:00.25Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00Z"),
        ];
        for (microseconds, text) in table {
            let written = Timestamp::from_microseconds(microseconds).map(|time| time.to_string());
            assert_eq!(written.as_deref(), Some(text));
        }
    }

    #[test]
    fn infinity_is_no_time() {
        assert_eq!(Timestamp::from_microseconds(i64::MAX), None);
        assert_eq!(Timestamp::from_microseconds(i64::MIN), None);
        assert_eq!(Timestamp::from_milliseconds(u64::MAX), None);
    }
}

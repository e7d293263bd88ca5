//! Values of rows, from Postgres' wire format to the shop's types.

use std::error::Error;

use bytes::{BufMut as _, BytesMut};
use rust_decimal::Decimal;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use wasmyard_guest::{Money, Timestamp};

/// 2000-01-01, which Postgres counts from, in microseconds since 1970.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// A `timestamp`, with its time zone or without.
#[derive(Debug)]
pub(crate) struct Time(pub(crate) Timestamp);

impl<'a> FromSql<'a> for Time {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let microseconds = i64::from_be_bytes(raw.try_into()?);
        let since_1970 = microseconds.checked_add(POSTGRES_EPOCH_US);
        let time = since_1970.and_then(Timestamp::from_microseconds);
        Ok(Self(time.ok_or("a time outside of the years 0 to 9999")?))
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::TIMESTAMP | Type::TIMESTAMPTZ)
    }
}

impl ToSql for Time {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let since_2000 = self.0.microseconds().checked_sub(POSTGRES_EPOCH_US);
        out.put_i64(since_2000.ok_or("a time before all times")?);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::TIMESTAMP | Type::TIMESTAMPTZ)
    }

    to_sql_checked!();
}

/// A `numeric` with at most two decimals.
pub(crate) struct Amount(pub(crate) Money);

impl<'a> FromSql<'a> for Amount {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let amount = Decimal::from_sql(kind, raw)?;
        Ok(Self(Money::exact(amount).ok_or("more than two decimals")?))
    }

    fn accepts(kind: &Type) -> bool {
        <Decimal as FromSql>::accepts(kind)
    }
}

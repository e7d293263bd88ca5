//! What a guest has not given back when its call ends.

use super::cache::FillHandle;
use super::postgres::TransactionHandle;
use crate::runtime::Context;

/// Ends the transactions and fills that a guest still holds after its call: they
/// belong to the request, and the instance may be given another one. Transactions
/// are rolled back by closing their connections, fills go to the next reader; the
/// guest's handles stay, and say that they have ended.
///
/// True when there was any: such a guest leaks.
pub fn end(context: &mut Context) -> bool {
    let mut any = false;
    for entry in context.table.iter_mut() {
        if let Some(transaction) = entry.downcast_mut::<TransactionHandle>() {
            any |= transaction.take().is_some();
        } else if let Some(fill) = entry.downcast_mut::<FillHandle>() {
            any |= fill.take().is_some();
        }
    }
    any
}

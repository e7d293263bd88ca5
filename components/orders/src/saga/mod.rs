//! The way of an order into being, over two services that share no transaction.
//!
//! ```text
//!   begin        reserve            write                confirm       end
//!  (orders)     (products)        (orders)             (products)    (orders)
//!     |             |                 |                    |            |
//!  reserving ----------------> order, history, ----> confirming -----> gone
//!     |                        event, answer
//!     '--> undoing ---- release (products) ----> gone, no order
//!
//!  an order that is cancelled: returning ---- release (products) ----> gone
//! ```
//!
//! The saga's row says what is left to do; its step changes in the same transaction as
//! whatever else that step writes, and only from the step before. So of a request and a
//! sweep that are at one saga, one gets its next step, and the other finds that it has not.
//! What products is asked for may be asked for again. Whoever dies leaves the row behind,
//! and the sweep takes it over when its time has come.

mod shortage;
mod sql;
mod stock;
mod sweep;

use std::time::Duration;

use wasmyard_guest::log::{self, Level};
use wasmyard_guest::{
    Fault, Money, OnConstraint, Problem, Reply, Row, RowError, Timestamp, Value, count, execute, query,
    request_timeout, trace, write,
};

use crate::LIST_KEY;
use crate::idempotency::Key;
use crate::new_order::NewOrder;
use crate::order::Order;
pub(crate) use shortage::CannotBeMade;
use shortage::Shortage;
pub use sql::{BEGIN, END, WRITE};
use sql::{BEGIN_ONCE, GIVE_UP, REFUSED, RETURNED};
use stock::{confirm, release};

/// A saga that has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Saga {
    order: i32,
    started_at: Timestamp,
}

/// What became of the wish to begin one.
pub(crate) enum Begun<'k, 'r> {
    /// It has begun.
    Saga(Saga),
    /// Somebody else has the key.
    Claimed(&'k Key<'r>),
}

impl Saga {
    /// Begins one, and claims the key if there is one.
    pub(crate) fn begin<'k, 'r>(key: Option<&'k Key<'r>>) -> Result<Begun<'k, 'r>, Problem> {
        let begun = match key {
            None => query(BEGIN, &[time()])?,
            Some(key) => {
                let [caller, text, body] = key.params();
                query(BEGIN_ONCE, &[caller, text, body, time()])?
            }
        };
        match (begun.first(Self::from_row)?, key) {
            (Some(saga), _) => {
                count("saga_started");
                Ok(Begun::Saga(saga))
            }
            (None, Some(key)) => Ok(Begun::Claimed(key)),
            (None, None) => Err(Problem::internal("INSERT returned no row")),
        }
    }

    fn from_row(row: Row<'_>) -> Result<Self, RowError> {
        Ok(Self { order: row.get("order_id")?, started_at: row.get("started_at")? })
    }

    /// Has products take the stock of all lines.
    pub(crate) fn reserve(self, wanted: &NewOrder) -> Result<(), Problem> {
        match stock::reserve(self.order, &wanted.lines) {
            Ok(Reply::Found(_)) => Ok(()),
            Ok(Reply::Refused(why)) => match Shortage::read(&why) {
                Some(shortage) => {
                    self.end(REFUSED);
                    count("saga_undone");
                    Err(shortage.problem(wanted))
                }
                None => Err(self.too_late()),
            },
            Ok(Reply::Absent) => {
                self.end(GIVE_UP);
                Err(Problem::internal("products has no way to reserve stock"))
            }
            // Whether it is reserved is unknown: undone it is in either case.
            Err(error) => {
                self.end(GIVE_UP);
                Err(error.into())
            }
        }
    }

    /// The order as it is going to be written.
    pub(crate) fn order(self, wanted: &NewOrder, total_price: Money) -> Order {
        let single = wanted.single();
        Order {
            id: self.order,
            user_id: wanted.user_id,
            product_id: single.map(|line| line.product_id),
            quantity: single.map(|line| line.quantity),
            total_price,
            status: "pending".to_owned(),
            created_at: self.started_at,
            items: single.is_none().then(|| wanted.lines.clone()),
        }
    }

    /// Writes the order.
    pub(crate) fn write(
        self,
        wanted: &NewOrder,
        order: &Order,
        by: Option<&str>,
        answer: &[u8],
    ) -> Result<(), Problem> {
        let (products, quantities): (Vec<i32>, Vec<i32>) =
            order.items.iter().flatten().map(|line| (line.product_id, line.quantity)).unzip();
        // Written by the service itself, as JSON.
        let answer = String::from_utf8_lossy(answer).into_owned();
        let written = write(
            WRITE,
            &[
                order.id.into(),
                order.user_id.into(),
                order.product_id.into(),
                order.quantity.into(),
                order.total_price.into(),
                order.created_at.into(),
                products.as_slice().into(),
                quantities.as_slice().into(),
                by.into(),
                answer.into(),
                trace::traceparent().into(),
                time(),
            ],
            &[LIST_KEY.to_owned()],
        )
        .on_constraint("orders_user_id_fkey", || Problem::unprocessable(vec![wanted.no_user()]))
        .on_constraint("orders_product_id_fkey", || Problem::unprocessable(vec![wanted.no_product(0)]))
        .on_constraint("order_items_product_id_fkey", || {
            Problem::unprocessable(vec![Fault::field("items", "one of the products has just gone")])
        });
        // Where it is unknown whether the order is written, its row of the saga knows.
        let written = written.inspect_err(|_| self.end(GIVE_UP))?;
        match written.rows.is_empty() {
            false => Ok(()),
            true => Err(self.too_late()),
        }
    }

    /// The sweep has taken it over.
    fn too_late(self) -> Problem {
        let cause = format!("the saga of order {} took longer than its time and is undone", self.order);
        Problem::unavailable("The order could not be made in time.", cause)
    }

    /// A failure here is no error of the client's: the sweep finds the saga when it is due.
    fn end(self, statement: &str) {
        if let Err(error) = execute(statement, &[self.order.into()]) {
            left(self.order, &Problem::from(error));
        }
    }
}

/// Tells products that the order is made, and ends the saga. A failure is no error of the
/// client's, who has an order: the sweep goes on from here.
pub(crate) fn confirm_or_leave(order: i32) {
    let ended = || {
        confirm(order)?;
        Ok::<_, Problem>(execute(END, &[order.into()])?)
    };
    match ended() {
        Ok(0) => {}
        Ok(_) => count("saga_completed"),
        Err(problem) => left(order, &problem),
    }
}

/// The same for the stock of an order that is cancelled.
pub(crate) fn return_or_leave(order: i32) {
    let ended = || {
        release(order)?;
        Ok::<_, Problem>(execute(RETURNED, &[order.into()])?)
    };
    if let Err(problem) = ended() {
        left(order, &problem);
    }
}

/// The milliseconds that whoever takes a saga a step further has until a sweep may take it for
/// one that was left behind: the time that a request may last, and a second more for its last
/// statement. A parameter of the statements.
pub(crate) fn time() -> Value {
    let time = request_timeout() + Duration::from_secs(1);
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX).into()
}

fn left(order: i32, problem: &Problem) {
    let fields = [
        ("order".to_owned(), order.to_string()),
        ("cause".to_owned(), format!("{} {}", problem.detail(), problem.cause())),
    ];
    log::write(Level::Warn, "a saga is left to the sweep", &fields);
}

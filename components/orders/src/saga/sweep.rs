//! What a crash, or a neighbour's outage, has left half done.

use std::time::Instant;

use wasmyard_guest::log::{self, Level};
use wasmyard_guest::{
    Background, Parked, PeerError, Problem, Row, RowError, count, execute, invalidate, query, request_timeout,
};

use super::stock::{confirm, release};
use crate::idempotency::FORGET;
use crate::{LIST_KEY, Orders, item_key};

/// Sagas that are taken at a time: each is a call and a statement, so a tenth of a second.
const BATCH: i32 = 50;
/// Sagas in a row that found products away, after which the others are spared the same. One
/// alone may be the trouble itself: its product locked by somebody, say.
const AWAY_MAX: u32 = 3;
/// Failures after which a saga waits for an operator: with the pauses between them six
/// minutes, so that a restart of anything does not park what would have ended by itself.
const ATTEMPTS_MAX: i32 = 12;

/// Takes what is due, $2 of it at most and the longest due first, and puts it off so that it
/// is not lost when this turn is cut short. A saga that was still reserving gets no order any
/// more, so its key is free; its request, if it is there after all, finds that out when it
/// wants to write one.
///
/// The fencing token $1 passes by what a later turn has touched.
const TAKE: &str = "
    WITH due AS (
        SELECT order_id, due_at FROM order_sagas
        WHERE due_at <= clock_timestamp() AND parked_at IS NULL AND fence <= $1
        ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE order_sagas AS saga SET fence = $1, due_at = clock_timestamp() + interval '5 s',
               step = CASE step WHEN 'reserving' THEN 'undoing' ELSE step END
        FROM due WHERE saga.order_id = due.order_id
        RETURNING saga.order_id, step, caller, key, due.due_at AS was_due_at
    ), freed AS (
        DELETE FROM idempotency_keys AS claim USING taken
        WHERE taken.step = 'undoing' AND claim.caller = taken.caller AND claim.key = taken.key
          AND claim.order_id = taken.order_id
    )
    SELECT order_id, step FROM taken ORDER BY was_due_at, order_id";

/// Gives back what was taken and not come to: the next turn need not wait for it.
const LEAVE: &str = "
    UPDATE order_sagas SET due_at = clock_timestamp()
    WHERE order_id = ANY($1::int4[]) AND fence = $2 AND parked_at IS NULL";

/// Ends a saga that no later turn has touched, and that is where it was.
const END: &str = "DELETE FROM order_sagas WHERE order_id = $1 AND fence = $2 AND step = $3";

/// Notes a failure, and parks the saga after $4 of them. The pause doubles, up to a minute.
const FAIL: &str = "
    UPDATE order_sagas SET attempts = attempts + 1, reason = left($3, 500),
           due_at = clock_timestamp() + least(60, 2 ^ attempts) * interval '1 s',
           parked_at = CASE WHEN attempts + 1 >= $4 THEN clock_timestamp() END
    WHERE order_id = $1 AND fence = $2
    RETURNING parked_at IS NOT NULL AS parked";

impl Background for Orders {
    fn run(fencing_token: i64) -> Result<(), Problem> {
        sweep(fencing_token)?;
        execute(FORGET, &[])?;
        Ok(())
    }

    fn parked() -> Result<Vec<Parked>, Problem> {
        let parked = query(
            "SELECT order_id, step, attempts, started_at, COALESCE(reason, '') AS reason FROM order_sagas
             WHERE parked_at IS NOT NULL ORDER BY started_at, order_id LIMIT 1000",
            &[],
        )?;
        Ok(parked.all(|row| {
            Ok(Parked {
                id: row.get::<i32>("order_id")?.to_string(),
                step: row.get("step")?,
                attempts: row.get("attempts")?,
                since: row.get("started_at")?,
                reason: row.get("reason")?,
            })
        })?)
    }

    fn retry(id: &str) -> Result<bool, Problem> {
        let Ok(order) = id.parse::<i32>() else { return Ok(false) };
        let retried = execute(
            "UPDATE order_sagas SET parked_at = NULL, attempts = 0, due_at = clock_timestamp()
             WHERE order_id = $1 AND parked_at IS NOT NULL",
            &[order.into()],
        )?;
        Ok(retried > 0)
    }
}

/// Ends what is due, until nothing is left, products seems to be away, or the turn's time for
/// new work is over: half of it, so that whatever is begun can be waited for and its failure
/// noted.
fn sweep(fencing_token: i64) -> Result<(), Problem> {
    let begun = Instant::now();
    let mut found_away = 0;
    loop {
        let taken = query(TAKE, &[fencing_token.into(), BATCH.into()])?.all(Work::from_row)?;
        for (index, work) in taken.iter().enumerate() {
            if found_away == AWAY_MAX || begun.elapsed() > request_timeout() / 2 {
                let left: Vec<i32> = taken[index..].iter().map(|work| work.order).collect();
                execute(LEAVE, &[left.as_slice().into(), fencing_token.into()])?;
                return Ok(());
            }
            match work.end(fencing_token) {
                Ok(()) => found_away = 0,
                Err(PeerError::Failed(problem)) => {
                    found_away = 0;
                    work.fail(fencing_token, &problem)?;
                }
                Err(PeerError::Away(problem)) => {
                    found_away += 1;
                    work.fail(fencing_token, &problem)?;
                }
            }
        }
        if taken.len() < usize::try_from(BATCH).unwrap_or_default() {
            return Ok(());
        }
    }
}

/// A saga, and what is left of it.
struct Work {
    order: i32,
    step: String,
}

impl Work {
    fn from_row(row: Row<'_>) -> Result<Self, RowError> {
        Ok(Self { order: row.get("order_id")?, step: row.get("step")? })
    }

    fn end(&self, fencing_token: i64) -> Result<(), PeerError> {
        match self.step.as_str() {
            "confirming" => confirm(self.order)?,
            _ => release(self.order)?,
        }
        // Whoever made or cancelled the order may have died before it could do that.
        if matches!(self.step.as_str(), "confirming" | "returning") {
            invalidate(&[LIST_KEY.to_owned(), item_key(self.order)]);
        }
        let ended = execute(END, &[self.order.into(), fencing_token.into(), self.step.as_str().into()])
            .map_err(|error| PeerError::Failed(error.into()))?;
        if ended > 0 {
            match self.step.as_str() {
                "confirming" => count("saga_completed"),
                "undoing" => count("saga_undone"),
                _ => {}
            }
        }
        Ok(())
    }

    fn fail(&self, fencing_token: i64, problem: &Problem) -> Result<(), Problem> {
        let reason = format!("{} {}", problem.detail(), problem.cause());
        let failed = query(
            FAIL,
            &[self.order.into(), fencing_token.into(), reason.as_str().into(), ATTEMPTS_MAX.into()],
        )?;
        let parked = failed.first(|row| row.get("parked"))?.unwrap_or(false);
        let fields = [("order".to_owned(), self.order.to_string()), ("cause".to_owned(), reason)];
        if parked {
            count("saga_parked");
            log::write(Level::Error, "a saga is parked: see `wasmyard saga list`", &fields);
        } else {
            log::write(Level::Warn, "a saga could not be ended yet", &fields);
        }
        Ok(())
    }
}

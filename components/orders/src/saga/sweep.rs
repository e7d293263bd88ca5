//! What a crash, or a neighbour's outage, has left half done.

use wasmyard_guest::log::{self, Level};
use wasmyard_guest::{Background, Parked, Problem, Row, RowError, count, execute, query};

use super::stock::{confirm, release};
use crate::Orders;
use crate::idempotency::FORGET;

/// Sagas that are taken at a time: each is a call and a statement, so a tenth of a second.
const BATCH: i32 = 50;
/// Batches of one turn, which has the time of one request.
const BATCHES_MAX: usize = 20;
/// Failures after which a saga waits for an operator: with the pauses between them six
/// minutes, so that a restart of anything does not park what would have ended by itself.
const ATTEMPTS_MAX: i32 = 12;

/// Takes what is due, $2 of it at most, and puts it off so that it is not lost when this
/// turn is cut short. A saga that was still reserving gets no order any more; its request,
/// if it is there after all, finds that out when it wants to write one.
///
/// The fencing token $1 passes by what a later turn has touched.
const TAKE: &str = "
    UPDATE order_sagas SET fence = $1, due_at = clock_timestamp() + interval '5 s',
           step = CASE step WHEN 'reserving' THEN 'undoing' ELSE step END
    WHERE order_id IN (
        SELECT order_id FROM order_sagas
        WHERE due_at <= clock_timestamp() AND parked_at IS NULL AND fence <= $1
        ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    RETURNING order_id, step";

/// Ends a saga that no later turn has touched, and that is where it was. With an order that
/// is never made goes the key of its request, which may try again.
const END: &str = "
    WITH ended AS (
        DELETE FROM order_sagas WHERE order_id = $1 AND fence = $2 AND step = $3
        RETURNING order_id, caller, key, step
    ), freed AS (
        DELETE FROM idempotency_keys AS claim USING ended
        WHERE ended.step = 'undoing' AND claim.caller = ended.caller AND claim.key = ended.key
          AND claim.order_id = ended.order_id
    )
    SELECT order_id FROM ended";

/// Notes a failure, and parks the saga after $4 of them. The pause doubles, up to a minute.
const FAIL: &str = "
    UPDATE order_sagas SET attempts = attempts + 1, reason = left($3, 500),
           due_at = clock_timestamp() + least(60, 2 ^ attempts) * interval '1 s',
           parked_at = CASE WHEN attempts + 1 >= $4 THEN clock_timestamp() END
    WHERE order_id = $1 AND fence = $2
    RETURNING parked_at IS NOT NULL AS parked";

impl Background for Orders {
    fn run(fencing_token: i64) -> Result<(), Problem> {
        for _ in 0..BATCHES_MAX {
            let taken = query(TAKE, &[fencing_token.into(), BATCH.into()])?.all(Work::from_row)?;
            for work in &taken {
                match work.end(fencing_token) {
                    Ok(()) => {}
                    // Products is away. The others are spared the same failure.
                    Err(problem) if problem.status() >= 503 => {
                        return work.fail(fencing_token, &problem);
                    }
                    Err(problem) => work.fail(fencing_token, &problem)?,
                }
            }
            if taken.len() < usize::try_from(BATCH).unwrap_or_default() {
                break;
            }
        }
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

/// A saga, and what is left of it.
struct Work {
    order: i32,
    step: String,
}

impl Work {
    fn from_row(row: Row<'_>) -> Result<Self, RowError> {
        Ok(Self { order: row.get("order_id")?, step: row.get("step")? })
    }

    fn end(&self, fencing_token: i64) -> Result<(), Problem> {
        match self.step.as_str() {
            "confirming" => confirm(self.order)?,
            _ => release(self.order)?,
        }
        let ended = query(END, &[self.order.into(), fencing_token.into(), self.step.as_str().into()])?;
        if !ended.rows.is_empty() {
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

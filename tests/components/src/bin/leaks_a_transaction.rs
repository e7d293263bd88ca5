//! Opens a transaction, writes in it, and ends the request in the way that the query
//! says, but never with a commit.

use test_components::{Guest, Problem, Request, Response, healthy_but, ok};
use wasmyard_guest::postgres;

struct Component;

impl Guest for Component {
    fn handle(request: &Request) -> Result<Response, Problem> {
        healthy_but(request, || {
            let transaction = postgres::begin(postgres::Isolation::ReadCommitted).expect("a transaction");
            transaction.execute("INSERT INTO leaks DEFAULT VALUES", &[]).expect("a row");
            match request.query.as_str() {
                "drop" => drop(transaction),
                "forget" => std::mem::forget(transaction),
                "panic" => panic!("in the middle of a transaction"),
                "loop" => loop {
                    std::hint::black_box(());
                },
                "wait" => {
                    let _ = transaction.query("SELECT pg_sleep(3600)", &[]);
                }
                _ => {}
            }
            ok("done")
        })
    }
}

wasmyard_guest::export!(Component);

fn main() {}

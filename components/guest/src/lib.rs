//! What a Wasmyard component needs to answer requests.
//!
//! A service is a type that implements [`Guest`]: one function from a request to
//! a response, or to a [`Problem`] that becomes an `application/problem+json`
//! answer. What the host does for every service is not done again here: unknown
//! routes and methods, HEAD, `ETag` and 304, body limits, request ids.
//!
//! ```
//! use wasmyard_guest::{Guest, Problem, Request, Response};
//!
//! struct Greeter;
//!
//! impl Guest for Greeter {
//!     fn handle(request: &Request) -> Result<Response, Problem> {
//!         match (request.method.as_str(), request.route.as_str()) {
//!             ("GET", "/hello/{name}") => {
//!                 let name = request.param("name").unwrap_or("world");
//!                 Response::json(200, &format!("Hello, {name}"))
//!             }
//!             _ => Err(Problem::no_route()),
//!         }
//!     }
//! }
//!
//! wasmyard_guest::export!(Greeter);
//! ```
//!
//! The crate compiles for the build machine too, where the host's functions
//! panic: everything that does not call the host is tested there.

#[expect(missing_docs, reason = "made by wit-bindgen; the WIT files document it")]
pub mod bindings;

mod background;
mod cache;
mod caller;
mod cursor;
mod description;
mod fault;
mod field;
mod form;
mod health;
mod limits;
mod money;
mod number;
mod object;
mod page;
mod peer;
mod problem;
mod query;
mod request;
mod response;
mod row;
mod sql;
mod statistics;
mod timestamp;
pub mod trace;

pub use bindings::wasmyard::platform::http_types::{Identity, Request, Response};
pub use bindings::wasmyard::platform::postgres::{RowSet, Value};
pub use bindings::wasmyard::platform::{auth, config, log, postgres, redis, services};

pub use background::{Background, Parked, bindings as background_bindings};
pub use cache::{Freshness, cached, invalidate};
pub use caller::{ADMIN, Caller};
pub use cursor::RankedPlace;
pub use description::{
    AlsoAt, DESCRIPTION_PATH, FormProblems, QueryProblems, answers, describe, form_problems,
};
pub use fault::Fault;
pub use field::Field;
pub use form::Form;
pub use health::{Health, health};
pub use limits::request_timeout;
pub use money::Money;
pub use object::Object;
pub use page::{LIMIT_DEFAULT, LIMIT_MAX, Page, Sort};
pub use peer::{Peer, PeerError, Reply};
pub use problem::Problem;
pub use query::Query;
pub use request::id;
pub use row::{FromValue, Row, RowError};
pub use sql::{OnConstraint, SqlError, execute, query, write};
pub use statistics::{Statistics, count, statistics};
pub use timestamp::Timestamp;

// What `problems!` writes refers to it.
#[doc(hidden)]
pub use utoipa;

/// A service.
pub trait Guest {
    /// Answers one request, already routed: match on its method and its route.
    ///
    /// # Errors
    ///
    /// A [`Problem`] is the answer when there is no better one; one with a status
    /// from 500 is logged with its cause.
    fn handle(request: &Request) -> Result<Response, Problem>;
}

impl<T: Guest> bindings::exports::wasmyard::platform::http_handler::Guest for T {
    fn handle(request: Request) -> Response {
        T::handle(&request).unwrap_or_else(|problem| {
            // Here is the guest's boundary: the one place that logs a failure.
            if problem.status() >= 500 {
                let fields = [("cause".to_owned(), problem.cause().to_owned())];
                log::write(log::Level::Error, problem.detail(), &fields);
            }
            problem.answer(&request)
        })
    }
}

/// Makes a type that implements [`Guest`] the component's service.
#[macro_export]
macro_rules! export {
    ($service:ident) => {
        // The build machine's linker does not take the names that the component
        // model gives to exports; there, the service is only kept from being unused.
        #[cfg(not(target_family = "wasm"))]
        const _: fn(&$crate::Request) -> Result<$crate::Response, $crate::Problem> =
            <$service as $crate::Guest>::handle;
        #[cfg(target_family = "wasm")]
        $crate::bindings::export_service!($service with_types_in $crate::bindings);
    };
}

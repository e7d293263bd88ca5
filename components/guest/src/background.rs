//! Work that no request waits for.

use crate::log::{self, Level};
use crate::{Problem, Timestamp};

#[expect(missing_docs, reason = "made by wit-bindgen; the WIT files document it")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "background-service",
        pub_export_macro: true,
        export_macro_name: "export_background_service",
        default_bindings_module: "wasmyard_guest::background_bindings",
        additional_derives: [PartialEq],
    });
}

use bindings::exports::wasmyard::platform::background as exported;

/// A service that has work to do by itself. The manifest says how often
/// (`background = { every = "1s" }`); of all hosts together one at a time gives it a turn.
pub trait Background {
    /// Works for a while and returns; there will be another turn. See `background.wit` for
    /// what the fencing token is good for.
    ///
    /// # Errors
    ///
    /// A [`Problem`] is logged with its cause.
    fn run(fencing_token: i64) -> Result<(), Problem>;

    /// What an operator should look at, the oldest first.
    ///
    /// # Errors
    ///
    /// A [`Problem`], whose detail the operator reads.
    fn parked() -> Result<Vec<Parked>, Problem>;

    /// Lets the next turn try it again; false when nothing is parked under this id.
    ///
    /// # Errors
    ///
    /// A [`Problem`], whose detail the operator reads.
    fn retry(id: &str) -> Result<bool, Problem>;
}

/// Work that a service cannot end by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Parked {
    /// Names it within the service.
    pub id: String,
    /// What it was about to do.
    pub step: String,
    /// How often it was tried.
    pub attempts: i32,
    /// When it began.
    pub since: Timestamp,
    /// Why it failed the last time.
    pub reason: String,
}

impl<T: Background> exported::Guest for T {
    fn run(fencing_token: u64) -> Result<(), String> {
        // 2^63 turns take longer than there has been time so far.
        T::run(i64::try_from(fencing_token).unwrap_or(i64::MAX)).map_err(|problem| told(&problem))
    }

    fn parked() -> Result<Vec<exported::ParkedWork>, String> {
        let parked = |work: Parked| exported::ParkedWork {
            id: work.id,
            step: work.step,
            attempts: u32::try_from(work.attempts).unwrap_or_default(),
            since_ms: u64::try_from(work.since.microseconds() / 1_000).unwrap_or_default(),
            reason: work.reason,
        };
        Ok(T::parked().map_err(|problem| told(&problem))?.into_iter().map(parked).collect())
    }

    fn retry(id: String) -> Result<bool, String> {
        T::retry(&id).map_err(|problem| told(&problem))
    }
}

/// Here is the guest's boundary: the one place that logs a failure.
fn told(problem: &Problem) -> String {
    let fields = [("cause".to_owned(), problem.cause().to_owned())];
    log::write(Level::Error, problem.detail(), &fields);
    problem.detail().to_owned()
}

/// Makes a type that implements [`crate::Background`] the component's, beside
/// [`crate::export!`].
#[macro_export]
macro_rules! export_background {
    ($service:ident) => {
        #[cfg(not(target_family = "wasm"))]
        const _: fn(i64) -> Result<(), $crate::Problem> = <$service as $crate::Background>::run;
        #[cfg(target_family = "wasm")]
        $crate::background_bindings::export_background_service!(
            $service with_types_in $crate::background_bindings
        );
    };
}

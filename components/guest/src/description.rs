//! What a service says of its own API, in the words of OpenAPI 3.1.
//!
//! The host asks each version until it has answered, by `GET` [`DESCRIPTION_PATH`], which no client reaches,
//! and adds what its manifest says of the routes: tokens, limits, the errors of its own. So a
//! service describes what it answers itself, beside the code that answers:
//!
//! ```
//! use serde::Serialize;
//! use utoipa::{OpenApi, ToSchema};
//! use wasmyard_guest::{DESCRIPTION_PATH, Guest, Problem, Request, Response, describe};
//!
//! #[derive(Serialize, ToSchema)]
//! struct Greeting {
//!     #[schema(example = "Hello, world")]
//!     text: String,
//! }
//!
//! /// Greets somebody.
//! #[utoipa::path(get, path = "/hello/{name}", params(("name", Path, description = "Whom.")),
//!     responses((status = 200, description = "The greeting.", body = Greeting)))]
//! fn hello(request: &Request) -> Result<Response, Problem> {
//!     let name = request.param("name").unwrap_or("world");
//!     Response::json(200, &Greeting { text: format!("Hello, {name}") })
//! }
//!
//! #[derive(OpenApi)]
//! #[openapi(paths(hello))]
//! struct Description;
//!
//! struct Greeter;
//!
//! impl Guest for Greeter {
//!     fn handle(request: &Request) -> Result<Response, Problem> {
//!         match (request.method.as_str(), request.route.as_str()) {
//!             ("GET", "/hello/{name}") => hello(request),
//!             ("GET", DESCRIPTION_PATH) => describe::<Description>(),
//!             _ => Err(Problem::no_route()),
//!         }
//!     }
//! }
//! ```

use std::collections::BTreeMap;

use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::{self, ContentBuilder, OpenApi, Ref, RefOr, Type};
use utoipa::{IntoResponses, Modify, ToSchema};

use crate::problem::Document;
use crate::{Fault, Problem, Request, Response};

/// Where the host asks a service for its description.
pub const DESCRIPTION_PATH: &str = "/openapi.json";

/// Answers the host's question with a description, which is made only now: a service that is
/// never asked for it pays for no more than the code's place in its file.
///
/// # Errors
///
/// As [`Response::json`].
pub fn describe<T: utoipa::OpenApi>() -> Result<Response, Problem> {
    let mut description = T::openapi();
    let components = description.components.get_or_insert_default();
    components.schemas.insert(Document::name().into_owned(), <Document as utoipa::PartialSchema>::schema());
    let mut inner = Vec::new();
    <Document as ToSchema>::schemas(&mut inner);
    components.schemas.extend(inner);
    // The library's own, which is compiled for size like all of it (the workspace's
    // `profile.component`): a description is written once.
    let json = description.to_json();
    let json = json.map_err(|error| Problem::internal(format!("the description is not JSON: {error}")))?;
    Ok(Response::json_bytes(200, json.into_bytes()))
}

/// Operations that answer at a second path too: pairs of the path that is described and the
/// other one. For `#[openapi(modifiers(…))]`.
pub struct AlsoAt(pub &'static [(&'static str, &'static str)]);

impl Modify for AlsoAt {
    fn modify(&self, description: &mut OpenApi) {
        for (described, other) in self.0 {
            let Some(item) = description.paths.paths.get(*described) else { continue };
            let mut item = item.clone();
            // An operation's id is its own (OpenAPI 3.1, section 4.8.10).
            let operations = [
                &mut item.get,
                &mut item.put,
                &mut item.post,
                &mut item.delete,
                &mut item.options,
                &mut item.head,
                &mut item.patch,
                &mut item.trace,
            ];
            operations.into_iter().flatten().for_each(|operation| operation.operation_id = None);
            description.paths.paths.insert((*other).to_owned(), item);
        }
    }
}

/// Gives problems a name, by which they stand in the `responses(…)` of an operation:
/// `problems! { Taken: taken("alice") }`. What is described is what these very problems
/// answer, and they are the examples.
#[macro_export]
macro_rules! problems {
    ($(#[$about:meta])* $visibility:vis $name:ident: $($problem:expr),+ $(,)?) => {
        $(#[$about])*
        $visibility struct $name;

        impl $crate::utoipa::IntoResponses for $name {
            fn responses() -> ::std::collections::BTreeMap<
                String,
                $crate::utoipa::openapi::RefOr<$crate::utoipa::openapi::Response>,
            > {
                $crate::answers([$($problem),+])
            }
        }
    };
}

/// The answers that these problems make, by status; what [`problems!`](crate::problems) is made of.
pub fn answers(problems: impl IntoIterator<Item = Problem>) -> BTreeMap<String, RefOr<openapi::Response>> {
    let mut answers: BTreeMap<u16, (String, Vec<Problem>)> = BTreeMap::new();
    for problem in problems {
        let answer = answers.entry(problem.status());
        answer.or_insert_with(|| (problem.title().to_owned(), Vec::new())).1.push(problem);
    }
    answers
        .into_iter()
        .map(|(status, (title, problems))| (status.to_string(), answer(title, problems)))
        .collect()
}

fn answer(title: String, problems: Vec<Problem>) -> RefOr<openapi::Response> {
    let request =
        Request { path: "/api/v1/…".to_owned(), request_id: REQUEST_ID.to_owned(), ..Request::default() };
    let mut response = ResponseBuilder::new().description(title + ".");
    let mut examples = Vec::new();
    for (number, problem) in problems.into_iter().enumerate() {
        let summary = problem.detail().to_owned();
        let answered = problem.answer(&request);
        for (name, value) in &answered.headers {
            if name != "content-type" {
                let header = HeaderBuilder::new().schema(Some(openapi::Object::with_type(Type::String)));
                let example = String::from_utf8_lossy(value).into_owned();
                response = response.header(name, header.example(Some(example.into())).build());
            }
        }
        let value = serde_json::from_slice(&answered.body).ok();
        let example = ExampleBuilder::new().summary(summary).value(value).build();
        examples.push(((number + 1).to_string(), RefOr::T(example)));
    }
    let schema = Ref::from_schema_name(Document::name());
    let content = ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples).build();
    response.content("application/problem+json", content).build().into()
}

/// An id as the host makes them, for examples.
const REQUEST_ID: &str = "01936f3c-7d2e-7b60-9a51-0c4f5d6e7a8b";

problems! {
    /// What comes of parameters of a query that cannot be understood: 400.
    pub QueryProblems: Problem::bad_parameter("limit", "must be a whole number from 1 to 1000")
}

/// What comes of a body that is no JSON (400), is not declared as such (415), or breaks the
/// rules of its fields (422).
pub struct FormProblems;

impl IntoResponses for FormProblems {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        answers(form_problems())
    }
}

/// The problems of [`FormProblems`], for an operation that has others of the same statuses.
pub fn form_problems() -> [Problem; 3] {
    [
        Problem::bad_request("The body is not valid JSON at line 1, column 12: expected value.")
            .with("line", 1)
            .with("column", 12),
        Problem::unsupported_media_type("application/json"),
        Problem::unprocessable(vec![
            Fault::field("quantity", "must be from 1 to 10000"),
            Fault::field("quantitty", "unknown field; did you mean quantity?"),
        ]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Described;

    impl utoipa::OpenApi for Described {
        fn openapi() -> OpenApi {
            OpenApi::default()
        }
    }

    #[test]
    fn a_description_is_of_version_3_1_and_has_the_problem_that_answers_refer_to() {
        let response = describe::<Described>().expect("JSON");
        let description: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(description["openapi"], "3.1.0");
        let schemas = &description["components"]["schemas"];
        assert_eq!(schemas["Problem"]["properties"]["errors"]["items"]["$ref"], "#/components/schemas/Fault");
        assert!(schemas["Fault"]["properties"]["pointer"].is_object(), "{schemas}");
    }

    #[test]
    fn an_operation_at_a_second_path_has_no_id_there() {
        let methods = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
        let item: serde_json::Map<_, _> = methods
            .map(|method| (method.to_owned(), serde_json::json!({ "operationId": method, "responses": {} })))
            .into_iter()
            .collect();
        let mut description: OpenApi = serde_json::from_value(serde_json::json!({
            "openapi": "3.1.0", "info": { "title": "", "version": "" }, "paths": { "/a": item },
        }))
        .expect("a description");
        AlsoAt(&[("/a", "/b"), ("/none", "/c")]).modify(&mut description);
        let described = serde_json::to_value(description).expect("JSON");
        for method in methods {
            assert_eq!(described["paths"]["/a"][method]["operationId"], method);
            assert!(described["paths"]["/b"][method]["operationId"].is_null(), "{method}");
            assert!(described["paths"]["/b"][method].is_object(), "{method}");
        }
        assert!(described["paths"]["/c"].is_null());
    }

    #[test]
    fn problems_of_one_status_are_examples_of_one_answer() {
        let taken = |name: &str| Problem::conflicting_field(name, format!("duplicate {name}"));
        let answers = answers([taken("username"), Problem::no_such("user", 9), taken("email")]);
        let answers = serde_json::to_value(answers).expect("JSON");
        assert_eq!(answers.as_object().expect("an object").keys().collect::<Vec<_>>(), ["404", "409"]);
        let content = &answers["409"]["content"]["application/problem+json"];
        assert_eq!(content["schema"]["$ref"], "#/components/schemas/Problem");
        assert_eq!(content["examples"]["2"]["value"]["errors"][0]["pointer"], "/email");
        assert_eq!(content["examples"]["2"]["value"]["status"], 409);
    }

    #[test]
    fn the_fields_of_a_problem_are_described_with_it() {
        let answers = serde_json::to_value(FormProblems::responses()).expect("JSON");
        assert_eq!(answers["415"]["headers"]["accept"]["example"], "application/json");
    }
}

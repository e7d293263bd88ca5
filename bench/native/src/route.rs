//! From a request to the function that answers it.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;
use uuid::Uuid;
use wasmyard_guest::Problem;

use crate::answer::{Answer, bare};
use crate::shop::Shop;
use crate::{limits, orders, products, users};

/// What the functions see of a request beside its body.
pub(crate) struct Head<'a> {
    /// Without its question mark.
    pub(crate) query: &'a str,
    /// Empty when the client does not say.
    pub(crate) content_type: &'a str,
    /// The client wants an answer that no cache has held.
    pub(crate) refuses_cache: bool,
}

/// Answers one request. A failure is an answer too.
pub(crate) async fn answer(
    shop: Arc<Shop>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/bare" {
        return Ok(bare());
    }
    let mut buffer = Uuid::encode_buffer();
    let request_id: &str = Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
    let reads = matches!(head.method, Method::GET | Method::HEAD);

    let answered = timeout(limits::REQUEST_TIMEOUT, route(&shop, &head, body)).await;
    let answer = answered.unwrap_or_else(|_| {
        Err(Problem::timeout("The service did not answer in time.", "the request's time is over"))
    });
    let answer = answer.unwrap_or_else(|problem| {
        if problem.status() >= 500 {
            eprintln!("{} {}: {}", head.method, head.uri.path(), problem.cause());
        }
        Answer::problem(problem, head.uri.path(), request_id)
    });
    // A version 7 id is ASCII.
    let request_id = HeaderValue::from_str(request_id).unwrap_or_else(|_| HeaderValue::from_static("none"));
    Ok(answer.sign(reads, &head.headers, request_id))
}

async fn route(shop: &Shop, request: &http::request::Parts, body: Incoming) -> Result<Answer, Problem> {
    let path = request.uri.path();
    let head = Head {
        query: request.uri.query().unwrap_or_default(),
        content_type: text(&request.headers, CONTENT_TYPE),
        refuses_cache: text(&request.headers, CACHE_CONTROL)
            .split(',')
            .any(|directive| directive.trim().eq_ignore_ascii_case("no-cache")),
    };
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    let writes = request.method == Method::POST;
    match path {
        users::PATH if reads => users::list(shop, &head).await,
        users::PATH if writes => users::create(shop, &head, &read(body).await?).await,
        products::PATH if reads => products::list(shop, &head).await,
        products::PATH if writes => products::create(shop, &head, &read(body).await?).await,
        orders::PATH if reads => orders::list(shop, &head).await,
        orders::PATH if writes => orders::create(shop, &head, &read(body).await?).await,
        users::PATH | products::PATH | orders::PATH => Ok(not_allowed("GET, HEAD, POST")),
        "/health" => Ok(Answer::json(r#"{"status":"healthy"}"#)),
        _ => {
            let (list, item) = path.rsplit_once('/').unwrap_or((path, ""));
            let item = percent_decode_str(item).decode_utf8();
            let item = item.map_err(|_| Problem::bad_request("The path is not valid UTF-8."))?;
            match list {
                users::PATH | products::PATH | orders::PATH if !reads => Ok(not_allowed("GET, HEAD")),
                users::PATH => users::item(shop, &head, &item).await,
                products::PATH => products::item(shop, &head, &item).await,
                orders::PATH => orders::item(shop, &head, &item).await,
                _ => Err(Problem::no_route()),
            }
        }
    }
}

async fn read(body: Incoming) -> Result<Bytes, Problem> {
    let whole = timeout(limits::BODY_TIMEOUT, Limited::new(body, limits::BODY_BYTES_MAX).collect()).await;
    match whole {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(Problem::bad_request("The body is too large, or broke off.")),
        Err(_) => Err(Problem::bad_request("The body did not arrive in time.")),
    }
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = Answer::json(Bytes::new()).allow(methods);
    answer.status = StatusCode::METHOD_NOT_ALLOWED;
    answer
}

fn text(headers: &HeaderMap, name: http::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

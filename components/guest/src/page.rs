//! Lists, page by page in id order, from either end.

use std::time::Duration;

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::cache::cached_if;
use crate::query::encode;
use crate::{Problem, Query, Request, Response, cursor};

/// Items of a page when the client does not say.
pub const LIMIT_DEFAULT: i32 = 100;
/// Items of a page at most.
pub const LIMIT_MAX: i32 = 1_000;

/// Which page of a list a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Where the page begins: a cursor taken from the `Link` of the page before.
    // The last id of that page.
    #[param(rename = "cursor", schema_with = cursor::schema, required = false)]
    last: Option<i32>,
    /// Items of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i32>,
    // Not every list has it.
    #[param(ignore)]
    sort: Sort,
}

/// From which end a list is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Sort {
    /// In id order, as things were made.
    #[default]
    Oldest,
    /// The other way round.
    Newest,
}

impl Page {
    /// Reads `limit` and `cursor`.
    ///
    /// # Errors
    ///
    /// 400 naming the parameter when the limit is not from 1 to 1,000, or the cursor
    /// is none that was handed out.
    pub fn of(query: &Query) -> Result<Self, Problem> {
        let limit = query.integer("limit", 1..=LIMIT_MAX)?;
        let last = query.get("cursor").map(|text| {
            cursor::read(text)
                .ok_or_else(|| Problem::bad_parameter("cursor", "must be one taken from a Link header"))
        });
        Ok(Self { last: last.transpose()?, limit, sort: Sort::Oldest })
    }

    /// Reads `sort` as well: `oldest`, which is the default, or `newest`.
    ///
    /// # Errors
    ///
    /// As [`Page::of`], and 400 for another `sort`.
    pub fn sorted(query: &Query) -> Result<Self, Problem> {
        let sort = match query.get("sort") {
            None | Some("oldest") => Sort::Oldest,
            Some("newest") => Sort::Newest,
            Some(_) => return Err(Problem::bad_parameter("sort", "must be oldest or newest")),
        };
        Ok(Self { sort, ..Self::of(query)? })
    }

    /// Whether it is the page that a client gets without asking for one.
    pub fn is_plain(&self) -> bool {
        self.last.is_none() && self.limit.is_none() && self.sort == Sort::Oldest
    }

    /// From which end the list is read.
    pub fn sort(&self) -> Sort {
        self.sort
    }

    /// The page's items have ids above this one, if they are in id order.
    pub fn after(&self) -> i32 {
        self.last.unwrap_or(0)
    }

    /// The page's items have ids below this one, if the newest come first.
    pub fn before(&self) -> i64 {
        self.last.map_or(i64::from(i32::MAX) + 1, i64::from)
    }

    /// Rows to ask the database for: one more than the page holds tells whether
    /// there is a next one.
    pub fn rows(&self) -> i64 {
        i64::from(self.limit()) + 1
    }

    /// The page as `read` gives it, of as many items as [`Page::rows`] says. The plain
    /// page, and no other, is kept under `key` as [`cached`](crate::cached) has it.
    ///
    /// # Errors
    ///
    /// Those of `read`; they are not cached.
    pub fn cached<T: Serialize>(
        &self,
        request: &Request,
        key: &str,
        ttl: Duration,
        read: impl FnOnce() -> Result<Vec<T>, Problem>,
    ) -> Result<Response, Problem> {
        self.cached_if(request, key, ttl, |_| true, read)
    }

    /// As [`Page::cached`], but a list without items is not kept.
    ///
    /// # Errors
    ///
    /// As [`Page::cached`].
    pub fn cached_unless_empty<T: Serialize>(
        &self,
        request: &Request,
        key: &str,
        ttl: Duration,
        read: impl FnOnce() -> Result<Vec<T>, Problem>,
    ) -> Result<Response, Problem> {
        self.cached_if(request, key, ttl, |body| body != b"[]", read)
    }

    fn cached_if<T: Serialize>(
        &self,
        request: &Request,
        key: &str,
        ttl: Duration,
        worth: impl FnOnce(&[u8]) -> bool,
        read: impl FnOnce() -> Result<Vec<T>, Problem>,
    ) -> Result<Response, Problem> {
        let read = || self.write(read()?);
        if self.is_plain() {
            cached_if(request, key, ttl, worth, read)
        } else {
            Ok(Response::json_bytes(200, read()?))
        }
    }

    /// The page as JSON, made of as many items as [`Page::rows`] gave.
    ///
    /// JSON may end in white space, and this one ends in a line feed exactly when
    /// there is a next page. So the bytes in the cache say it too, and a hit
    /// need not be parsed to write its `Link`.
    ///
    /// # Errors
    ///
    /// As [`Response::json`].
    pub fn write<T: Serialize>(&self, mut items: Vec<T>) -> Result<Vec<u8>, Problem> {
        let size = usize::try_from(self.limit()).unwrap_or_default();
        let more = items.len() > size;
        items.truncate(size);
        let mut body = Response::json(200, &items)?.body;
        if more {
            body.push(b'\n');
        }
        Ok(body)
    }

    /// The response with a `Link` to the next page (RFC 8288), if there is one: the
    /// list's path, the filters given, and this page's limit.
    pub fn link(&self, response: Response, path: &str, filters: &[(&str, &str)]) -> Response {
        match self.next(&response.body, path, filters) {
            Some(next) => response.with_header("link", &next),
            None => response,
        }
    }

    /// The value of that `Link`; `None` for the last page.
    pub fn next(&self, body: &[u8], path: &str, filters: &[(&str, &str)]) -> Option<String> {
        let last = last_id(body)?;
        let filters = filters.iter().map(|(name, value)| format!("{name}={}&", encode(value)));
        let limit = self.limit.map(|limit| format!("limit={limit}&"));
        let sort = (self.sort == Sort::Newest).then(|| "sort=newest&".to_owned());
        let parameters: String = filters.chain(sort).chain(limit).collect();
        Some(format!("<{path}?{parameters}cursor={}>; rel=\"next\"", cursor::after(last)))
    }

    fn limit(&self) -> i32 {
        self.limit.unwrap_or(LIMIT_DEFAULT)
    }
}

/// The last item's id when a body made by [`Page::write`] has a next page. An item
/// begins with its id, and `{"id":` cannot stand within a JSON string, whose quotes
/// are escaped.
fn last_id(body: &[u8]) -> Option<i32> {
    const START: &[u8] = b"{\"id\":";
    body.strip_suffix(b"\n")?;
    let start = body.windows(START.len()).rposition(|window| window == START)? + START.len();
    let digits = body[start..].split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Item {
        id: i32,
        name: &'static str,
    }

    fn page(query: &str) -> Result<Page, Problem> {
        Page::of(&Query::parse(query)?)
    }

    fn items(count: i32) -> Vec<Item> {
        (1..=count).map(|id| Item { id, name: "{\"id\":9}" }).collect()
    }

    #[test]
    fn the_plain_page_is_the_first_hundred() {
        let plain = page("").expect("a page");
        assert!(plain.is_plain());
        assert_eq!((plain.after(), plain.rows()), (0, 101));
        assert!(!page("limit=100").expect("a page").is_plain());
        assert!(page("other=1").expect("a page").is_plain());
    }

    #[test]
    fn a_limit_or_cursor_out_of_range_is_named() {
        for query in
            ["limit=0", "limit=1001", "limit=-1", "limit=ten", "limit=", "limit=1e2", "limit=99999999999"]
        {
            let problem = page(query).expect_err(query);
            assert!(problem.status() == 400 && problem.detail().starts_with("invalid limit: "), "{query}");
        }
        for query in ["cursor=", "cursor=5", "cursor=%00"] {
            let problem = page(query).expect_err(query);
            assert!(problem.status() == 400 && problem.detail().starts_with("invalid cursor: "), "{query}");
        }
    }

    #[test]
    fn a_page_links_to_the_next_until_the_last() {
        let first = page("limit=2&category=Home+%26+Garden").expect("a page");
        let body = first.write(items(3)).expect("JSON");
        assert!(serde_json::from_slice::<Vec<serde_json::Value>>(&body).is_ok_and(|items| items.len() == 2));
        let response =
            first.link(Response::json_bytes(200, body), "/api/v1/things", &[("category", "Home & Garden")]);
        assert_eq!(
            response.header("link"),
            Some("</api/v1/things?category=Home%20%26%20Garden&limit=2&cursor=AQAAAAI>; rel=\"next\"")
        );
        let second = page("limit=2&cursor=AQAAAAI").expect("a page");
        assert_eq!(second.after(), 2);
        let last = second.write(items(2)).expect("JSON");
        assert_eq!(second.link(Response::json_bytes(200, last), "/x", &[]).header("link"), None);
    }

    #[test]
    fn the_newest_first_is_another_list_that_links_to_itself() {
        let sorted = |query| Page::sorted(&Query::parse(query)?);
        let first = sorted("sort=newest&limit=1").expect("a page");
        assert_eq!((first.sort(), first.before(), first.rows()), (Sort::Newest, 1 << 31, 2));
        let body = first.write(items(2)).expect("JSON");
        let next = first.next(&body, "/x", &[]);
        assert_eq!(next.as_deref(), Some("</x?sort=newest&limit=1&cursor=AQAAAAE>; rel=\"next\""));
        assert_eq!(sorted("sort=newest&cursor=AQAAAAE").expect("a page").before(), 1);
        assert!(!sorted("sort=newest").expect("a page").is_plain());
        assert!(sorted("sort=oldest").expect("a page").is_plain());
        let problem = sorted("sort=price").expect_err("no such order");
        assert_eq!((problem.status(), problem.detail()), (400, "invalid sort: must be oldest or newest"));
    }

    #[test]
    fn an_empty_list_has_no_next_page() {
        let plain = page("").expect("a page");
        let body = plain.write(items(0)).expect("JSON");
        assert_eq!(body, b"[]");
        assert_eq!(plain.link(Response::json_bytes(200, body), "/x", &[]).header("link"), None);
    }
}

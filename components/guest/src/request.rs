//! Reading a request.

use crate::{Form, Problem, Query, Request};

/// GET `/` with nothing in it: what a test fills in.
impl Default for Request {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            query: String::new(),
            route: "/".to_owned(),
            params: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
            identity: None,
            request_id: String::new(),
        }
    }
}

impl Request {
    /// A request with a JSON body that is declared as such: what a test fills in.
    #[must_use]
    pub fn with_json(body: &str) -> Self {
        let headers = vec![("content-type".to_owned(), b"application/json".to_vec())];
        Self { headers, body: body.as_bytes().to_vec(), ..Self::default() }
    }

    /// The first header field of that name (lower case); `None` when there is none,
    /// or when its value is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(field, _)| field == name)?;
        std::str::from_utf8(value).ok()
    }

    /// A parameter of the route's template.
    pub fn param(&self, name: &str) -> Option<&str> {
        let (_, value) = self.params.iter().find(|(param, _)| param == name)?;
        Some(value)
    }

    /// The template's `{id}`, a positive 32-bit integer as a database key is.
    ///
    /// # Errors
    ///
    /// 404 for any other text (`abc`, `0`, `007`, `99999999999`): no such thing can
    /// exist, which is the same answer as for an id that nobody has yet.
    pub fn id(&self, noun: &str) -> Result<i32, Problem> {
        id(noun, self.param("id").unwrap_or_default())
    }

    /// The query's parameters, decoded.
    ///
    /// # Errors
    ///
    /// 400 when it is not decodable, or a parameter is given twice.
    pub fn query(&self) -> Result<Query, Problem> {
        Query::parse(&self.query)
    }

    /// The body as a JSON object of these fields, ready to be validated.
    ///
    /// # Errors
    ///
    /// 415 unless the body is declared as `application/json`, 400 when it is not
    /// JSON (with line and column) or nested too deep, 422 when it is not an object.
    pub fn form(&self, fields: &'static [&'static str]) -> Result<Form<'_>, Problem> {
        Form::declared(self.header("content-type").unwrap_or_default(), &self.body, fields)
    }

    /// Who is calling, as the host has verified; `None` where nobody has logged in.
    pub fn subject(&self) -> Option<&str> {
        self.identity.as_ref().map(|identity| identity.subject.as_str())
    }

    /// Whether the client asks for an answer that no cache has held (`no-cache`, RFC
    /// 9111, section 5.2.1.4).
    pub fn refuses_cache(&self) -> bool {
        let directives = self.header("cache-control").unwrap_or_default();
        directives.split(',').any(|directive| directive.trim().eq_ignore_ascii_case("no-cache"))
    }
}

/// A database key as it stands in a path: see [`Request::id`].
///
/// # Errors
///
/// 404 for any text that is no such key.
pub fn id(noun: &str, text: &str) -> Result<i32, Problem> {
    // `parse` alone would take `+7` and `007`, second names of one resource.
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| canonical).ok_or_else(|| Problem::no_such(noun, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_header(name: &str, value: &[u8]) -> Request {
        Request { headers: vec![(name.into(), value.into())], ..Request::default() }
    }

    #[test]
    fn an_id_is_a_positive_integer_in_its_shortest_form() {
        let id = |text: &str| {
            let request = Request { params: vec![("id".into(), text.into())], ..Request::default() };
            request.id("thing").map_err(|problem| problem.status())
        };
        assert_eq!(id("1"), Ok(1));
        assert_eq!(id("2147483647"), Ok(i32::MAX));
        for text in ["", "0", "-1", "+1", "01", "1.0", "1e3", "2147483648", "abc", "1 OR 1=1", "١", "1\0"] {
            assert_eq!(id(text), Err(404), "{text:?}");
        }
    }

    #[test]
    fn a_body_must_be_declared_as_json() {
        for value in ["application/json", "Application/JSON; charset=utf-8", "application/json;a=b"] {
            let mut request = with_header("content-type", value.as_bytes());
            request.body = b"{}".to_vec();
            assert!(request.form(&[]).is_ok(), "{value}");
        }
        for value in ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"] {
            let request = with_header("content-type", value.as_bytes());
            assert_eq!(request.form(&[]).err().map(|problem| problem.status()), Some(415), "{value}");
        }
        assert_eq!(Request::default().form(&[]).err().map(|problem| problem.status()), Some(415));
    }

    #[test]
    fn a_header_that_is_not_utf8_is_no_header() {
        assert_eq!(with_header("x", b"\xff").header("x"), None);
        assert_eq!(with_header("x", b"y").header("x"), Some("y"));
    }

    #[test]
    fn no_cache_is_found_among_directives() {
        assert!(with_header("cache-control", b"max-age=0, No-Cache").refuses_cache());
        assert!(!with_header("cache-control", b"max-age=0").refuses_cache());
        assert!(!Request::default().refuses_cache());
    }
}

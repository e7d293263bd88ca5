//! Validation of a body, field by field, with all faults in one answer.

use std::ops::RangeInclusive;

use crate::{Fault, Field, Object, Problem};

/// A typing error is at most this likely to be meant: strsim's similarity, from 0 to
/// 1, below which no name is suggested.
const SIMILARITY_MIN: f64 = 0.7;
/// Characters of an unknown field's name that are repeated to the client.
const NAME_CHARS_MAX: usize = 100;

/// A JSON object on its way to become a typed value.
///
/// ```
/// use wasmyard_guest::{Form, Problem};
///
/// fn stock(body: &[u8]) -> Result<i32, Problem> {
///     let mut form = Form::parse(body, &["stock"])?;
///     let stock = form.required("stock", |field| field.integer(0..=i32::MAX));
///     form.finish(stock)
/// }
///
/// assert_eq!(stock(br#"{"stock": 45}"#), Ok(45));
/// assert!(stock(br#"{"stok": -1}"#).is_err());
/// ```
#[derive(Debug)]
pub struct Form<'a> {
    object: Object<'a>,
    faults: Vec<Fault>,
}

impl<'a> Form<'a> {
    /// Reads an object, and notes the members that are none of these fields.
    ///
    /// # Errors
    ///
    /// As [`Object::parse`].
    pub fn parse(body: &'a [u8], fields: &[&str]) -> Result<Self, Problem> {
        let object = Object::parse(body)?;
        let unknown = object.names().filter(|name| !fields.contains(name));
        let unknown = unknown.map(|name| unknown_field(name, fields));
        let repeated = fields.iter().filter(|field| object.names().filter(|name| name == *field).count() > 1);
        let repeated = repeated.map(|field| Fault::field(field, "given more than once"));
        let faults = unknown.take(NAMED_MAX).chain(repeated).collect();
        Ok(Self { object, faults })
    }

    /// As [`Form::parse`], of a body that the client declares to be of this media type.
    ///
    /// # Errors
    ///
    /// 415 unless that is `application/json`; then as [`Object::parse`].
    pub fn declared(media_type: &str, body: &'a [u8], fields: &[&str]) -> Result<Self, Problem> {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Problem::unsupported_media_type("application/json"));
        }
        Self::parse(body, fields)
    }

    /// A field that must be there. `None` means that a fault was noted.
    pub fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Field<'a>) -> Result<T, String>,
    ) -> Option<T> {
        match self.object.field(name) {
            Some(field) => self.note(name, read(field)),
            None => self.note(name, Err("is required".into())),
        }
    }

    /// A field that may be absent, or `null`: `Some(None)`.
    pub fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Field<'a>) -> Result<T, String>,
    ) -> Option<Option<T>> {
        match self.object.field(name).filter(|field| !field.is_null()) {
            Some(field) => self.note(name, read(field)).map(Some),
            None => Some(None),
        }
    }

    /// A field that may be absent, or `null`: a list of objects with these fields, each of
    /// which `read` reads. Its faults have pointers that lead into the list.
    pub fn list<T>(
        &mut self,
        name: &str,
        length: RangeInclusive<usize>,
        fields: &[&str],
        read: impl Fn(&mut Form<'a>) -> Option<T>,
    ) -> Option<Option<Vec<T>>> {
        let Some(entries) = self.optional(name, |field| field.list(length))? else { return Some(None) };
        let mut values = Some(Vec::with_capacity(entries.len()));
        for (index, entry) in entries.into_iter().enumerate() {
            let place = format!("/{name}/{index}");
            let value = match Form::parse(entry.text().as_bytes(), fields) {
                Ok(mut form) => {
                    let value = read(&mut form);
                    let faultless = form.faults.is_empty();
                    self.faults.extend(form.faults.into_iter().map(|fault| fault.within(&place)));
                    value.filter(|_| faultless)
                }
                Err(_) => {
                    self.faults.push(Fault::at(place, "must be a JSON object"));
                    None
                }
            };
            values = values.zip(value).map(|(mut values, value)| {
                values.push(value);
                values
            });
        }
        values.map(Some)
    }

    /// Notes a fault that only several fields together make.
    pub fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// The value made of all fields, `None` standing for a fault that was noted.
    ///
    /// # Errors
    ///
    /// 422 with every fault.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Problem> {
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(Problem::unprocessable(self.faults)),
        }
    }

    fn note<T>(&mut self, name: &str, outcome: Result<T, String>) -> Option<T> {
        outcome.map_err(|detail| self.faults.push(Fault::field(name, detail))).ok()
    }
}

/// Unknown fields that are looked at one by one; the answer bounds all faults anyway.
const NAMED_MAX: usize = 10;

fn unknown_field(name: &str, fields: &[&str]) -> Fault {
    let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
    let similarity = |field: &&str| strsim::normalized_damerau_levenshtein(field, &shown);
    let nearest = fields.iter().map(|field| (similarity(field), field));
    let nearest = nearest.max_by(|(a, _), (b, _)| a.total_cmp(b));
    let detail = match nearest {
        Some((similarity, field)) if similarity >= SIMILARITY_MIN => {
            format!("unknown field; did you mean {field}?")
        }
        _ => format!("unknown field; the fields are {}", fields.join(", ")),
    };
    Fault::field(&shown, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(body: &str) -> Result<(String, Option<i32>), Problem> {
        let mut form = Form::parse(body.as_bytes(), &["username", "age"])?;
        let username = form.required("username", |field| field.line(1..=5));
        let age = form.optional("age", |field| field.integer(0..=150));
        form.finish(username.zip(age))
    }

    fn faults(body: &str) -> String {
        let problem = pair(body).expect_err("faults");
        assert_eq!(problem.status(), 422);
        let response = problem.answer(&crate::Request::default());
        let document: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
        document["errors"].to_string()
    }

    #[test]
    fn an_optional_field_may_be_absent_or_null() {
        assert_eq!(pair(r#"{"username":"ann","age":7}"#), Ok(("ann".into(), Some(7))));
        assert_eq!(pair(r#"{"username":"ann","age":null}"#), Ok(("ann".into(), None)));
        assert_eq!(pair(r#"{"username":"ann"}"#), Ok(("ann".into(), None)));
    }

    #[test]
    fn all_faults_come_at_once() {
        let errors = faults(r#"{"usernam":"ann","age":"old","shoe":41}"#);
        assert_eq!(
            errors,
            concat!(
                r#"[{"detail":"unknown field; did you mean username?","pointer":"/usernam"},"#,
                r#"{"detail":"unknown field; the fields are username, age","pointer":"/shoe"},"#,
                r#"{"detail":"is required","pointer":"/username"},"#,
                r#"{"detail":"must be a number","pointer":"/age"}]"#,
            )
        );
    }

    #[test]
    fn a_required_field_may_not_be_null_and_none_may_be_repeated() {
        assert!(faults(r#"{"username":null}"#).contains("must be a string"));
        assert!(faults(r#"{"username":"a","username":"b"}"#).contains("given more than once"));
    }

    #[test]
    fn a_flood_of_unknown_fields_is_not_echoed() {
        let many: String = (0..50_000).map(|n| format!("\"field{n}\":1,")).collect();
        let long = "x".repeat(100_000);
        let errors = faults(&format!("{{{many}\"{long}\":1,\"username\":\"ann\"}}"));
        assert!(errors.len() < 5_000, "{}", errors.len());
    }
}

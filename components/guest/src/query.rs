//! The parameters of a query.

use std::ops::RangeInclusive;

use utoipa::ToSchema as _;
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, Ref, Schema, Type};

use crate::{Money, Problem};

/// A query's parameters, percent-decoded, a plus sign read as a space as HTML forms
/// write it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query, given without its question mark.
    ///
    /// # Errors
    ///
    /// 400 when it is not decodable, or a parameter is given twice.
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| Problem::bad_request("The query is not valid UTF-8."))?;
            let value = decode(value).ok_or_else(|| {
                Problem::bad_parameter(&name, "not percent-encoded UTF-8 without control characters")
            })?;
            // Which of two values counts differs between servers; an answer to the
            // wrong one is worse than none.
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(Problem::bad_parameter(&name, "given more than once"));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter; an empty one, as a form sends it, counts as none.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// A whole number.
    ///
    /// # Errors
    ///
    /// 400 naming the parameter when it is none, or out of range.
    pub fn integer(&self, name: &str, range: RangeInclusive<i32>) -> Result<Option<i32>, Problem> {
        let number = self.get(name).map(|text| {
            let number = text.parse().ok().filter(|number| range.contains(number));
            number.ok_or_else(|| {
                let (least, most) = (range.start(), range.end());
                Problem::bad_parameter(name, format!("must be a whole number from {least} to {most}"))
            })
        });
        number.transpose()
    }

    /// An amount of money.
    ///
    /// # Errors
    ///
    /// 400 naming the parameter when it is none.
    pub fn amount(&self, name: &str) -> Result<Option<Money>, Problem> {
        let amount = self.given(name).map(Money::parse).transpose();
        amount.map_err(|detail| Problem::bad_parameter(name, detail))
    }

    /// `true` or `false`, which is also what an absent one means.
    ///
    /// # Errors
    ///
    /// 400 naming the parameter when it is neither.
    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.given(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::bad_parameter(name, "must be true or false")),
        }
    }

    /// The schema of what [`Query::amount`] reads: with `#[param(schema_with = …)]`.
    pub fn amount_schema() -> Schema {
        let nothing = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([""]));
        let description = Some("An amount; empty, as a form sends it, is none.");
        let amount = Ref::from_schema_name(Money::name());
        OneOfBuilder::new().description(description).item(amount).item(nothing).build().into()
    }

    /// The schema of what [`Query::flag`] reads.
    pub fn flag_schema() -> Schema {
        let values = Some(["false", "true", ""]);
        let flag = ObjectBuilder::new().schema_type(Type::String).enum_values(values);
        flag.default(Some("false".into())).build().into()
    }

    /// The same query, encoded, with another value of one parameter.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> String {
        let others = self.0.iter().filter(|(known, _)| known != name);
        let others = others.map(|(name, value)| format!("{}={}&", encode(name), encode(value)));
        others.chain([format!("{}={}", encode(name), encode(value))]).collect()
    }
}

/// A value as it may stand in a query (RFC 3986, section 2.3: what is not unreserved
/// is encoded).
pub(crate) fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The text that an encoded one stands for; none when an escape is broken, when it is
/// not UTF-8, or when it hides a control character.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => 16 * hex_digit(rest.next()?)? + hex_digit(rest.next()?)?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control))
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse("category=Home+%26%20Garden&limit=10&&flag").expect("a query");
        assert_eq!(query.get("category"), Some("Home & Garden"));
        assert_eq!(query.get("limit"), Some("10"));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.get("cursor"), None);
    }

    #[test]
    fn a_parameter_is_read_as_what_it_should_be() {
        let query = Query::parse("limit=10&least=9.90&most=&flag=true&off=false&odd=maybe").expect("a query");
        assert_eq!(query.integer("limit", 1..=10), Ok(Some(10)));
        assert_eq!(query.integer("none", 1..=10), Ok(None));
        assert_eq!(
            query.amount("least").map(|amount| amount.map(|a| a.to_string())),
            Ok(Some("9.90".into()))
        );
        assert_eq!(query.amount("most"), Ok(None));
        assert_eq!(
            (query.flag("flag"), query.flag("off"), query.flag("none")),
            (Ok(true), Ok(false), Ok(false))
        );
        let problems = [
            query.integer("limit", 1..=9).err(),
            query.integer("odd", 1..=9).err(),
            query.amount("odd").err(),
            query.flag("odd").err(),
        ];
        let details = problems.map(|problem| problem.map(|problem| problem.detail().to_owned()));
        let odd = |what: &str| Some(format!("invalid odd: {what}"));
        assert_eq!(details[0].as_deref(), Some("invalid limit: must be a whole number from 1 to 9"));
        assert_eq!(details[1], odd("must be a whole number from 1 to 9"));
        assert_eq!(details[2..], [odd("must be a number"), odd("must be true or false")]);
    }

    #[test]
    fn another_page_keeps_what_was_asked_for() {
        let query = Query::parse("q=a%26b+c&cursor=old&limit=5").expect("a query");
        assert_eq!(query.with("cursor", "new"), "q=a%26b%20c&limit=5&cursor=new");
    }

    #[test]
    fn what_cannot_be_read_one_way_is_refused() {
        for query in ["a=1&a=2", "a=1&%61=2", "a=%", "a=%4", "a=%zz", "a=%+1", "a=%ff", "a=%00", "%ff=1"] {
            let status = Query::parse(query).err().map(|problem| problem.status());
            assert_eq!(status, Some(400), "{query}");
        }
    }

    #[test]
    fn encoding_survives_a_round_trip_and_breaks_no_line() {
        let value = "Bücher & <more>;\"x\"\r\n+%";
        let encoded = encode(value);
        assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
        assert_eq!(encode("a b"), "a%20b");
        assert_eq!(decode(&encode("Bücher & <more>;+%")).as_deref(), Some("Bücher & <more>;+%"));
    }
}

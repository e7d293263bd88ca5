//! The parameters of a query.

use crate::Problem;

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

//! A user, as it is stored and as it is asked for.

use serde::Serialize;
use utoipa::ToSchema;
use wasmyard_guest::{Field, Form, Problem, Request, Row, RowError, Timestamp};

use crate::email;
use crate::password::Password;

/// A user.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct User {
    /// Its key.
    #[schema(minimum = 1, example = 1)]
    pub id: i32,
    /// The name, unique in the shop.
    #[schema(max_length = 50, example = "alice")]
    pub username: String,
    /// The address, unique in the shop.
    #[schema(format = Email, max_length = 100, example = "alice@example.com")]
    pub email: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl User {
    pub(crate) fn from_row(row: Row<'_>) -> Result<Self, RowError> {
        Ok(Self {
            id: row.get("id")?,
            username: row.get("username")?,
            email: row.get("email")?,
            created_at: row.get("created_at")?,
        })
    }
}

/// A user that a client wants to be made.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The name: letters and digits of any script, `.`, `_` and `-`.
    // The pattern is exact in ASCII; what is a letter beyond it, no two readers of patterns say
    // in the same words.
    #[schema(
        min_length = 1,
        max_length = 50,
        pattern = r"^[^\x00-\x2C\x2F\x3A-\x40\x5B-\x5E\x60\x7B-\x9F\s]+$",
        example = "eddie"
    )]
    pub username: String,
    /// The address.
    #[schema(format = Email, max_length = 100, example = "eddie@example.com")]
    pub email: String,
    /// What they want to log in with; without one, nobody logs in as this user.
    pub password: Option<Password>,
}

impl NewUser {
    /// The fields of its form.
    pub const FIELDS: &'static [&'static str] = &["username", "email", "password"];

    pub(crate) fn read(request: &Request) -> Result<Self, Problem> {
        Self::of(request.form(Self::FIELDS)?)
    }

    /// Reads its form.
    ///
    /// # Errors
    ///
    /// 422 with every fault.
    pub fn of(mut form: Form<'_>) -> Result<Self, Problem> {
        let username = form.required("username", username);
        let email = form.required("email", email::read);
        let password = form.optional("password", Password::read);
        let user = || Some(Self { username: username?, email: email?, password: password? });
        form.finish(user())
    }
}

/// Letters and digits of any script; what else stands in a name ends up in paths,
/// logs and mail headers.
fn username(field: Field<'_>) -> Result<String, String> {
    let name = field.line(1..=50)?;
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.chars().all(allowed) {
        Ok(name)
    } else {
        Err("must consist of letters, digits, '.', '_' and '-'".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<NewUser, (u16, String)> {
        let request = Request::with_json(body);
        NewUser::read(&request).map_err(|problem| {
            let response = problem.answer(&request);
            (response.status, String::from_utf8_lossy(&response.body).into_owned())
        })
    }

    fn with_username(name: &str) -> Result<NewUser, (u16, String)> {
        read(&serde_json::json!({ "username": name, "email": "a@example.com" }).to_string())
    }

    #[test]
    fn the_labs_user_is_taken() {
        let (username, email) = ("eddie".into(), "eddie@example.com".into());
        let eddie = NewUser { username, email, password: None };
        assert_eq!(read(r#"{"username": "eddie", "email": "eddie@example.com"}"#), Ok(eddie));
    }

    #[test]
    fn a_username_has_letters_digits_and_three_marks() {
        for name in ["a", "A.b_c-9", "zoë", "李雷", &"é".repeat(50)] {
            assert!(with_username(name).is_ok(), "{name}");
        }
        for name in [
            "",
            " ",
            "a b",
            " alice",
            "a@b",
            "a'; DROP TABLE users; --",
            "a\r\nset-cookie: x",
            "a\0",
            "a/b",
            "😀",
            &"a".repeat(51),
            &"é".repeat(51),
        ] {
            let (status, body) = with_username(name).expect_err(name);
            assert!(status == 422 && body.contains(r#""pointer":"/username""#), "{name:?}: {body}");
        }
    }

    #[test]
    fn the_form_has_the_fields_that_are_described() {
        let schema = serde_json::to_value(<NewUser as utoipa::PartialSchema>::schema()).expect("JSON");
        let mut described: Vec<_> = schema["properties"].as_object().expect("fields").keys().collect();
        let mut read = NewUser::FIELDS.to_vec();
        described.sort();
        read.sort_unstable();
        assert_eq!(described, read);
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let (status, body) = read(r#"{"username": "", "mail": "x"}"#).expect_err("faults");
        assert_eq!(status, 422);
        for part in ["/username", "/email", "/mail", "did you mean email?"] {
            assert!(body.contains(part), "{part}: {body}");
        }
    }
}

//! What a route wants of its callers, and whether one may pass.

use std::sync::Arc;

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};

use super::authority::Authority;
use super::bearer;
use super::token::Invalid;
use crate::limits;
use crate::manifest::{AuthLevel, RouteAuth};
use crate::problem::{Kind, Problem};
use crate::runtime::Identity;

/// Who may ask for a route by one method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    level: AuthLevel,
    role: Option<Arc<str>>,
}

/// Why a caller may not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no token.
    #[error("an access token is required")]
    NoToken,
    /// There is something else than a valid token.
    #[error("the access token is not valid: {0}")]
    InvalidToken(#[from] Invalid),
    /// The caller is known, and lacks this role.
    #[error("the role {0:?} is required")]
    NoRole(Arc<str>),
    /// The host has no keys, or cannot learn at this moment whether there is the one that
    /// the token names: it may be valid.
    #[error("the host does not have, or cannot look for, the key to verify the token with")]
    NoAuthority,
}

impl Denied {
    /// Every [`Denied::kind`].
    pub const KINDS: [&str; 4] = ["no_token", "invalid_token", "no_role", "no_authority"];

    /// The variant in a word, as metrics and traces have it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::InvalidToken(_) => "invalid_token",
            Self::NoRole(_) => "no_role",
            Self::NoAuthority => "no_authority",
        }
    }
}

impl Access {
    /// Everybody, known or not.
    pub const EVERYBODY: Self = Self { level: AuthLevel::None, role: None };

    /// What the manifest says for a method, in the local form or elsewhere.
    pub fn of(auth: &RouteAuth, method: &str, local: bool) -> Self {
        match auth.level(method, local) {
            AuthLevel::None => Self::EVERYBODY,
            level => Self { level, role: auth.role.as_deref().map(Into::into) },
        }
    }

    /// Whether a caller must prove who they are.
    pub fn level(&self) -> AuthLevel {
        self.level
    }

    /// The role that a caller who is known must have.
    pub fn role(&self) -> Option<&str> {
        self.role.as_deref()
    }

    /// Whether nobody is asked who they are.
    pub fn is_everybody(&self) -> bool {
        self.level == AuthLevel::None
    }

    /// Who the sender of a request is, if they say; whether they may pass is another
    /// question ([`Access::check`]). The field that the proof stood in is taken out: it is the
    /// caller's secret, and no guest needs it.
    ///
    /// # Errors
    /// [`Denied::InvalidToken`] and [`Denied::NoAuthority`]. A token that is there must be
    /// valid, also where none is required: a caller who believes to be known must not be
    /// taken for nobody.
    pub async fn identify(
        &self,
        authority: Option<&Authority>,
        headers: &mut HeaderMap,
    ) -> Result<Option<Identity>, Denied> {
        if self.is_everybody() {
            return Ok(None);
        }
        let identity = match bearer::token(headers)? {
            None => None,
            Some(token) => Some(authority.ok_or(Denied::NoAuthority)?.verify(token).await?),
        };
        headers.remove(AUTHORIZATION);
        Ok(identity)
    }

    /// Whether a caller who has been verified already, or is nobody, may pass.
    ///
    /// # Errors
    /// [`Denied::NoToken`] or [`Denied::NoRole`].
    pub fn check(&self, identity: Option<&Identity>) -> Result<(), Denied> {
        match (self.level, identity, &self.role) {
            (AuthLevel::Required, None, _) => Err(Denied::NoToken),
            (AuthLevel::None, ..) | (_, None, _) | (_, Some(_), None) => Ok(()),
            (_, Some(identity), Some(role)) => match identity.roles.iter().any(|held| **held == **role) {
                true => Ok(()),
                false => Err(Denied::NoRole(role.clone())),
            },
        }
    }
}

impl From<&Denied> for Problem {
    /// The answers of RFC 6750, section 3.1. A client is told of a token's age, which it
    /// can do something about, and not what else was wrong with it.
    fn from(denied: &Denied) -> Self {
        let challenge = |challenge| (WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        let (problem, field) = match denied {
            Denied::NoToken => {
                let detail = "Send Authorization: Bearer and an access token.";
                (Self::new(Kind::TokenRequired, detail), challenge("Bearer"))
            }
            Denied::InvalidToken(invalid) => {
                let detail = match invalid {
                    Invalid::Expired => "The access token has expired.",
                    _ => "The access token is not one that this host takes.",
                };
                (Self::new(Kind::InvalidToken, detail), challenge(r#"Bearer error="invalid_token""#))
            }
            Denied::NoRole(role) => {
                let detail = format!("This takes the role {role:?}.");
                (Self::new(Kind::MissingRole, detail), challenge(r#"Bearer error="insufficient_scope""#))
            }
            Denied::NoAuthority => {
                let detail = "The host cannot verify access tokens at this moment.";
                return Self::new(Kind::Unavailable, detail).retry_after(limits::RETRY_AFTER);
            }
        };
        problem.with_header(field.0, field.1)
    }
}

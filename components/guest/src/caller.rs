//! Who is asking, where that is one of the shop's users.

use crate::{Problem, Request};

/// The role that may do everything.
pub const ADMIN: &str = "admin";

/// A user who has logged in, as the host has verified it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Their key.
    pub id: i32,
    /// Whether they hold the role [`ADMIN`].
    pub is_admin: bool,
}

impl Caller {
    /// Whether something that belongs to this user is theirs to see.
    pub fn may_see(self, owner: i32) -> bool {
        self.is_admin || self.id == owner
    }
}

impl Request {
    /// Who is asking; `None` where the route takes requests of nobody in particular.
    ///
    /// # Errors
    ///
    /// 500 when the host's identity is no user's: the service that issues tokens puts
    /// users' keys into them.
    pub fn caller(&self) -> Result<Option<Caller>, Problem> {
        let Some(identity) = &self.identity else { return Ok(None) };
        let id = identity.subject.parse().ok().filter(|id| *id > 0);
        let id = id.ok_or_else(|| Problem::internal("the caller's subject is no user's id"))?;
        Ok(Some(Caller { id, is_admin: identity.roles.iter().any(|role| role == ADMIN) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    fn caller(subject: &str, roles: &[&str]) -> Result<Option<Caller>, u16> {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        let identity = Some(Identity { subject: subject.to_owned(), roles });
        Request { identity, ..Request::default() }.caller().map_err(|problem| problem.status())
    }

    #[test]
    fn a_caller_is_a_user_and_sees_their_own() {
        let bob = Caller { id: 2, is_admin: false };
        assert_eq!(caller("2", &["customer"]), Ok(Some(bob)));
        assert!(bob.may_see(2) && !bob.may_see(1));
        let diana = Caller { id: 4, is_admin: true };
        assert_eq!(caller("4", &["admin"]), Ok(Some(diana)));
        assert!(diana.may_see(1));
        assert_eq!(Request::default().caller(), Ok(None));
        for subject in ["", "0", "-1", "alice", "99999999999"] {
            assert_eq!(caller(subject, &[]), Err(500), "{subject}");
        }
    }
}

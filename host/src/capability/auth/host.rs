//! The host functions.

use wasmtime::Result;

use super::{AccessToken, Auth, Error, OpaqueToken, digest, opaque_token};
use crate::bindings::wasmyard::platform::auth;
use crate::limits::PASSWORD_BYTES_MAX;
use crate::runtime::Context;

impl auth::Host for Context {
    async fn hash_password(&mut self, password: String) -> Result<Result<String, Error>> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(Err(Error::TooLong));
        }
        Ok(granted(self)?.hash(password).await)
    }

    async fn verify_password(
        &mut self,
        password: String,
        hash: Option<String>,
    ) -> Result<Result<bool, Error>> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(Err(Error::TooLong));
        }
        Ok(granted(self)?.verify(password, hash).await)
    }

    async fn issue_access_token(&mut self, subject: String, role: String) -> Result<AccessToken> {
        Ok(granted(self)?.issue(&subject, &role))
    }

    async fn new_opaque_token(&mut self) -> Result<OpaqueToken> {
        Ok(opaque_token()?)
    }

    async fn digest(&mut self, token: String) -> Result<Vec<u8>> {
        Ok(digest(&token))
    }
}

fn granted(context: &Context) -> Result<std::sync::Arc<dyn Auth>> {
    context.capabilities.auth.clone().ok_or_else(|| wasmtime::format_err!("auth is not granted"))
}

//! How a request crosses into a guest.
//!
//! Its text is lent and not copied: what bindgen makes of the contract would want an
//! owned `String` or `Vec` for every word of a request, a dozen and more, only to copy
//! each of them into the guest's memory and free it.

use http::HeaderName;
use http::header::AUTHORIZATION;
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, ComponentType, Func, Instance, Lift, Lower,
    TypedFunc,
};
use wasmtime::{Result, Store, format_err};

use super::context::Context;
use super::message::Request;
use crate::bindings::wasmyard::platform::http_types::Response;

/// The interface that a service exports, and its one function.
const INTERFACE: &str = "wasmyard:platform/http-handler@1.0.0";
const FUNCTION: &str = "handle";

/// Where a component has its `handle`.
pub(super) struct Entry(ComponentExportIndex);

/// The `handle` of one instance.
pub(super) struct Handle(Func);

/// Which header fields a guest is shown.
pub(super) enum Shown {
    /// All but the caller's credentials: those that the host knows are verified before a
    /// guest is entered, and those that it does not know are for services that ask for them.
    All,
    /// These, in lower case.
    Only(Box<[String]>),
}

impl Shown {
    /// What a manifest grants.
    pub(super) fn granted(headers: Option<&[String]>) -> Self {
        headers.map_or(Self::All, |names| Self::Only(names.into()))
    }

    fn has(&self, name: &HeaderName) -> bool {
        match self {
            Self::All => name != AUTHORIZATION,
            Self::Only(names) => names.iter().any(|shown| shown == name.as_str()),
        }
    }
}

impl Entry {
    /// Finds it.
    ///
    /// # Errors
    /// When the component exports nothing of that name.
    pub(super) fn of(component: &Component) -> Result<Self> {
        let interface = component.get_export_index(None, INTERFACE);
        let function = interface.and_then(|interface| component.get_export_index(Some(&interface), FUNCTION));
        function.map(Self).ok_or_else(|| format_err!("it exports no {INTERFACE}#{FUNCTION}"))
    }

    /// The function in an instance, its type checked.
    ///
    /// # Errors
    /// When its type is not the contract's.
    pub(super) fn bind(&self, instance: &Instance, store: &mut Store<Context>) -> Result<Handle> {
        let missing = || format_err!("it exports no {INTERFACE}#{FUNCTION}");
        let handle = instance.get_func(&mut *store, self.0).ok_or_else(missing)?;
        handle.typed::<(GuestRequest<'static>,), (Response,)>(&*store)?;
        Ok(Handle(handle))
    }
}

impl Handle {
    /// Calls it.
    ///
    /// # Errors
    /// A trap, or an error of a host function.
    pub(super) async fn call(
        &self,
        store: &mut Store<Context>,
        request: &Request,
        shown: &Shown,
    ) -> Result<Response> {
        let params: Vec<_> =
            request.params.iter().map(|(name, value)| (name.as_ref(), value.as_str())).collect();
        let headers = request.headers.iter().filter(|(name, _)| shown.has(name));
        let headers: Vec<_> = headers.map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let roles: Vec<_> =
            request.identity.iter().flat_map(|caller| &caller.roles).map(String::as_str).collect();
        let lent = GuestRequest {
            method: request.method.as_str(),
            path: request.path(),
            query: request.query(),
            route: &request.route,
            params: &params,
            headers: &headers,
            body: &request.body,
            identity: request
                .identity
                .as_ref()
                .map(|caller| GuestIdentity { subject: &caller.subject, roles: &roles }),
            request_id: request.id.as_str(),
        };
        let (response,) = typed(self.0).call_async(store, (lent,)).await?;
        Ok(response)
    }
}

/// The function as one that takes what is lent for this call alone. Its type was
/// checked when the instance was made, and a lifetime is no part of it.
#[expect(unsafe_code, reason = "a check for each call would cost more than the call's own entry")]
fn typed<'a>(handle: Func) -> TypedFunc<(GuestRequest<'a>,), (Response,)>
where
    (GuestRequest<'a>,): ComponentNamedList + Lower,
    (Response,): ComponentNamedList + Lift,
{
    // SAFETY: `Entry::bind` has checked this very function against these types.
    unsafe { TypedFunc::new_unchecked(handle) }
}

/// `http-types.request`, lent.
#[derive(ComponentType, Lower)]
#[component(record)]
struct GuestRequest<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    route: &'a str,
    params: &'a [(&'a str, &'a str)],
    headers: &'a [(&'a str, &'a [u8])],
    body: &'a [u8],
    identity: Option<GuestIdentity<'a>>,
    #[component(name = "request-id")]
    request_id: &'a str,
}

/// `http-types.identity`, lent.
#[derive(ComponentType, Lower)]
#[component(record)]
struct GuestIdentity<'a> {
    subject: &'a str,
    roles: &'a [&'a str],
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, CONTENT_TYPE, COOKIE};

    use super::*;

    #[test]
    fn credentials_are_shown_to_a_guest_that_asks_for_them_by_name_alone() {
        let names = ["authorization".to_owned(), "accept".to_owned()];
        for (granted, shown) in [
            (None, &[ACCEPT, CONTENT_TYPE, COOKIE][..]),
            (Some(&names[..]), &[ACCEPT, AUTHORIZATION]),
            (Some(&names[1..]), &[ACCEPT]),
            (Some(&[]), &[]),
        ] {
            let granted = Shown::granted(granted);
            let seen =
                [ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE].into_iter().filter(|name| granted.has(name));
            assert_eq!(seen.collect::<Vec<_>>(), shown);
        }
    }
}

//! What a route wants, and the answers to those who do not have it.

use std::collections::BTreeMap;

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};

use super::*;
use crate::manifest::{AuthLevel, RouteAuth};
use crate::problem::Problem;
use crate::runtime::{Identity, RequestId};

pub(super) fn access(level: AuthLevel, role: Option<&str>) -> Access {
    let auth = RouteAuth {
        levels: BTreeMap::from([("POST".to_owned(), level)]),
        role: role.map(str::to_owned),
        local_optional: false,
    };
    assert!(Access::of(&auth, "GET", false).is_everybody());
    Access::of(&auth, "POST", false)
}

/// The caller, or the status and the challenge.
pub(super) async fn admit(
    access: &Access,
    authority: &Authority,
    fields: &[&str],
) -> Result<Option<Identity>, (u16, String)> {
    let mut headers: HeaderMap =
        fields.iter().map(|field| (AUTHORIZATION, HeaderValue::from_str(field).unwrap())).collect();
    let identified = access.identify(Some(authority), &mut headers).await;
    let admitted = identified.and_then(|identity| access.check(identity.as_ref()).map(|()| identity));
    if admitted.is_ok() && !access.is_everybody() {
        assert!(!headers.contains_key(AUTHORIZATION), "no guest sees the token");
    }
    admitted.map_err(|denied| {
        let response = Problem::from(&denied).response(&RequestId::new(), "/");
        (response.status.as_u16(), response.headers[WWW_AUTHENTICATE].to_str().unwrap().to_owned())
    })
}

#[tokio::test]
async fn a_level_says_who_may_come_without_a_token_and_a_role_who_with_one() {
    use AuthLevel::{None as Nobody, Optional, Required};
    let authority = alone().await;
    let bearer = |role: &str| format!("Bearer {}", authority.issue("2", role).token);
    let (customer, admin) = (bearer("customer"), bearer("admin"));
    let missing = (401, "Bearer".to_owned());
    let invalid = (401, r#"Bearer error="invalid_token""#.to_owned());
    let forbidden = (403, r#"Bearer error="insufficient_scope""#.to_owned());

    for (level, role, fields, expected) in [
        (Nobody, None, vec![], Ok(false)),
        (Nobody, Some("admin"), vec!["Bearer nonsense"], Ok(false)),
        (Nobody, None, vec![&*customer], Ok(false)),
        (Optional, None, vec![], Ok(false)),
        (Optional, None, vec![&*customer], Ok(true)),
        (Optional, Some("admin"), vec![], Ok(false)),
        (Optional, Some("admin"), vec![&*customer], Err(&forbidden)),
        (Optional, Some("admin"), vec![&*admin], Ok(true)),
        (Optional, None, vec!["Bearer nonsense"], Err(&invalid)),
        (Required, None, vec![], Err(&missing)),
        (Required, None, vec![&*customer], Ok(true)),
        (Required, Some("admin"), vec![&*customer], Err(&forbidden)),
        (Required, Some("admin"), vec![&*admin], Ok(true)),
        (Required, None, vec!["Bearer nonsense"], Err(&invalid)),
        // Another scheme, no token, and two fields of which only one is looked at by others.
        (Required, None, vec!["Basic YTpi"], Err(&invalid)),
        (Required, None, vec!["Bearer"], Err(&invalid)),
        (Required, None, vec!["Bearer "], Err(&invalid)),
        (Required, None, vec![""], Err(&invalid)),
        (Required, None, vec![&*customer, &*admin], Err(&invalid)),
        (Optional, None, vec![&*customer, "Basic YTpi"], Err(&invalid)),
    ] {
        let admitted = admit(&access(level, role), &authority, &fields).await;
        let known = admitted.as_ref().map(Option::is_some);
        assert_eq!(known, expected, "{level:?} {role:?} {fields:?}");
    }
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        let field = customer.replacen("Bearer", scheme, 1);
        assert!(admit(&access(Required, None), &authority, &[&field]).await.is_ok(), "{scheme}");
    }
}

#[tokio::test]
async fn without_keys_nobody_is_known_and_nobody_is_let_through() {
    let required = access(AuthLevel::Required, None);
    let mut headers = HeaderMap::new();
    assert_eq!(required.identify(None, &mut headers).await, Ok(None));
    assert_eq!(required.check(None), Err(Denied::NoToken));
    headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    assert_eq!(required.identify(None, &mut headers).await, Err(Denied::NoAuthority));
}

#[test]
fn the_local_form_relieves_what_says_so_and_nothing_else() {
    let mut auth = RouteAuth {
        levels: BTreeMap::from([("POST".to_owned(), AuthLevel::Required)]),
        role: Some("admin".to_owned()),
        local_optional: true,
    };
    assert_eq!(Access::of(&auth, "POST", true), access(AuthLevel::Optional, Some("admin")));
    assert_eq!(Access::of(&auth, "POST", false), access(AuthLevel::Required, Some("admin")));
    auth.local_optional = false;
    assert_eq!(Access::of(&auth, "POST", true), access(AuthLevel::Required, Some("admin")));
}

#[test]
fn a_relieved_route_is_never_served_to_others() {
    let text = r#"
        [server]
        https_port = 9443
        [services.orders]
        component = "Cargo.toml"
        routes = [
            { path = "/orders", methods = ["GET", "POST"], auth = { POST = "required" }, local_auth = "optional" },
            { path = "/me", methods = ["GET"], auth = "required" },
        ]
    "#;
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("wasmyard.toml");
    let manifest = manifest::Manifest::parse(text, &path, &|_| None).unwrap();
    for (bind, local, refused) in [
        ("127.0.0.1", true, false),
        ("::1", true, false),
        ("0.0.0.0", false, false),
        ("0.0.0.0", true, true),
        ("::", true, true),
        ("192.168.0.7", true, true),
    ] {
        let checked = check_exposure(&manifest, bind.parse().unwrap(), local);
        assert_eq!(checked.is_err(), refused, "{bind}");
        if let Err(exposed) = checked {
            let shown = exposed.to_string();
            assert!(shown.contains("POST /orders") && shown.contains("9443"), "{shown}");
            assert!(!shown.contains("/me") && !shown.contains("GET"), "{shown}");
        }
    }
}

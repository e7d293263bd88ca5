//! Tokens of keys that a host does not know yet.

use futures_util::future::join_all;
use futures_util::poll;
use http::header::RETRY_AFTER;

use super::*;
use crate::limits::SIGNING_KEYS_WAITING_MAX;
use crate::problem::Problem;
use crate::runtime::RequestId;

/// A token that no host of this test will ever take.
async fn strange() -> String {
    alone().await.issue("1", "admin").token
}

fn loads(keys: &MemoryKeys) -> usize {
    keys.loads.load(Relaxed)
}

#[tokio::test]
async fn a_new_keys_token_is_taken_however_lately_somebody_has_looked() {
    let keys = MemoryKeys::default();
    let (one, other) = (host(&keys).await, host(&keys).await);
    assert_eq!(other.verify(&strange().await).await, Err(Invalid::UnknownKey.into()));
    for _ in 0..2 {
        one.rotate().await.unwrap();
        other.verify(&one.issue("1", "customer").token).await.unwrap();
    }
    assert_eq!(other.verify(&strange().await).await, Err(Invalid::UnknownKey.into()));
}

#[tokio::test]
async fn made_up_names_wait_for_one_look_and_only_so_many_of_them() {
    const MORE: usize = 44;
    let keys = MemoryKeys::default();
    let (host, strange) = (host(&keys).await, strange().await);
    let before = loads(&keys);
    keys.held.send_replace(true);
    let mut waiting: Vec<_> =
        (0..SIGNING_KEYS_WAITING_MAX).map(|_| Box::pin(host.verify(&strange))).collect();
    for verified in &mut waiting {
        assert!(poll!(verified).is_pending());
    }
    for _ in 0..MORE {
        assert_eq!(host.verify(&strange).await, Err(Denied::NoAuthority), "at once");
    }
    keys.held.send_replace(false);
    for verified in join_all(waiting).await {
        assert_eq!(verified, Err(Invalid::UnknownKey.into()));
    }
    // One for the first of them, and perhaps one that began after all others had come.
    let looks = loads(&keys) - before;
    assert!((1..=2).contains(&looks), "{looks}");
}

#[tokio::test]
async fn a_look_goes_on_when_its_request_is_gone() {
    let keys = MemoryKeys::default();
    let (one, other) = (host(&keys).await, host(&keys).await);
    one.rotate().await.unwrap();
    let (token, before) = (one.issue("1", "customer").token, loads(&keys));
    keys.held.send_replace(true);
    let mut given_up = Box::pin(other.verify(&token));
    assert!(poll!(&mut given_up).is_pending());
    while loads(&keys) == before {
        tokio::task::yield_now().await;
    }
    drop(given_up);
    keys.held.send_replace(false);
    let learned = async {
        while other.keys().current().kid() != one.keys().current().kid() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), learned).await.expect("the look has gone on");
    assert_eq!(loads(&keys), before + 1);
}

#[tokio::test]
async fn while_the_store_hangs_nobody_is_told_that_their_token_is_not_valid() {
    let keys = MemoryKeys::default();
    let (host, strange) = (host(&keys).await, strange().await);
    let known = host.issue("1", "customer").token;
    let before = loads(&keys);
    keys.held.send_replace(true);
    let crowd = join_all((0..20).map(|_| host.verify(&strange)));
    let (crowd, rotated) = tokio::join!(crowd, host.rotate());
    for verified in crowd {
        let denied = verified.unwrap_err();
        assert_eq!(denied, Denied::NoAuthority);
        let answer = Problem::from(&denied).response(&RequestId::new(), "/");
        assert_eq!((answer.status.as_u16(), answer.headers.contains_key(RETRY_AFTER)), (503, true));
    }
    assert!(rotated.is_err(), "an operator is not kept waiting either");
    assert!(loads(&keys) - before <= 3, "they have not asked in turn");
    host.verify(&known).await.unwrap();

    keys.held.send_replace(false);
    assert_eq!(host.verify(&strange).await, Err(Invalid::UnknownKey.into()));
}

#[tokio::test]
async fn a_crowd_with_the_tokens_of_a_key_that_is_gone_has_nobody_look() {
    let keys = MemoryKeys::default();
    let host = host(&keys).await;
    let old = host.issue("1", "customer").token;
    host.revoke().await.unwrap();
    let before = loads(&keys);
    for _ in 0..1_000 {
        assert_eq!(host.verify(&old).await, Err(Invalid::RetiredKey.into()));
    }
    assert_eq!(loads(&keys), before);
}

//! Rotation, on this host and on others.

use super::*;

#[tokio::test]
async fn a_rotated_key_signs_at_once_and_tokens_of_the_one_before_are_taken() {
    let authority = alone().await;
    let (before, old) = (authority.keys(), authority.issue("1", "customer").token);
    let after = authority.rotate().await.unwrap();
    assert_ne!(after.current().kid(), before.current().kid());
    let new = authority.issue("1", "customer").token;
    for token in [&old, &new] {
        authority.verify(token).await.unwrap();
    }
    let states: Vec<_> = after.states().map(|(kid, _, state)| (kid.to_owned(), state)).collect();
    let expected = [(after.current(), KeyState::Current), (before.current(), KeyState::Previous)];
    assert_eq!(states, expected.map(|(key, state)| (key.kid().to_owned(), state)));
    let jwks: serde_json::Value = serde_json::from_slice(after.jwks()).unwrap();
    assert_eq!(jwks["keys"][0]["kid"], after.current().kid());
    assert_eq!(jwks["keys"][1]["kid"], before.current().kid());
}

#[tokio::test]
async fn after_a_leak_the_tokens_of_all_former_keys_are_refused() {
    let keys = MemoryKeys::default();
    let (one, other) = (host(&keys).await, Arc::new(host(&keys).await));
    let old = one.issue("1", "customer").token;
    one.rotate().await.unwrap();
    let newer = one.issue("1", "customer").token;
    one.revoke().await.unwrap();
    for token in [&old, &newer] {
        assert_eq!(one.verify(token).await, Err(Invalid::RetiredKey.into()));
    }
    // Another host meets the new key, and with it learns that the others are gone.
    other.verify(&one.issue("1", "customer").token).await.unwrap();
    assert_eq!(other.verify(&old).await, Err(Invalid::RetiredKey.into()));
}

#[tokio::test]
async fn hosts_of_one_database_share_their_keys_and_learn_of_new_ones_when_they_meet_them() {
    let keys = MemoryKeys::default();
    let (one, other) = (host(&keys).await, host(&keys).await);
    other.verify(&one.issue("1", "customer").token).await.unwrap();
    one.rotate().await.unwrap();
    assert_ne!(other.keys().current().kid(), one.keys().current().kid());
    other.verify(&one.issue("1", "customer").token).await.unwrap();
    assert_eq!(other.keys().current().kid(), one.keys().current().kid());
}

#[tokio::test]
async fn a_host_that_meets_no_token_learns_of_a_new_key_when_its_period_is_over() {
    let keys = MemoryKeys::default();
    let (one, other) = (host(&keys).await, Arc::new(host(&keys).await));
    let following = tokio::spawn(other.follow(Duration::from_millis(1)));
    one.rotate().await.unwrap();
    let learned = async {
        while other.keys().current().kid() != one.keys().current().kid() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), learned).await.expect("it looks again and again");
    drop(other);
    following.await.expect("it ends with its authority");
}

#[tokio::test]
async fn keys_of_another_secret_are_told_of_and_not_replaced() {
    let keys = MemoryKeys::default();
    host(&keys).await;
    let error = open(&keys, b"another").await.err().expect("another secret").to_string();
    assert!(error.contains("auth.key"), "{error}");
    assert_eq!(keys.keys.lock().unwrap().len(), 1);
}

//! Against a real Redis: commands, the fence around scripts, and outages.

use std::time::{Duration, Instant};

use super::*;
use crate::testing::servers::TestRedis;

async fn connected(server: &TestRedis) -> RedisConnection {
    let redis = RedisConnection::open(&server.url()).expect("a connection");
    assert!(redis.wait_until_up(Duration::from_secs(20)).await);
    redis
}

fn keys(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < give_up, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn each_command_does_what_the_contract_says() {
    let server = TestRedis::start();
    let redis = connected(&server).await;
    let second = Some(Duration::from_secs(1000));
    assert_eq!(redis.get("a").await.expect("get"), None);
    assert!(redis.set("a", b"1".to_vec(), None, Condition::IfAbsent).await.expect("set"));
    assert!(!redis.set("a", b"2".to_vec(), None, Condition::IfAbsent).await.expect("set"));
    assert!(!redis.set("b", b"2".to_vec(), None, Condition::IfPresent).await.expect("set"));
    assert_eq!(redis.ttl("a").await.expect("ttl"), None);
    assert!(redis.set("a", b"7".to_vec(), second, Condition::Always).await.expect("set"));
    assert!(redis.ttl("a").await.expect("ttl").is_some_and(|left| left <= Duration::from_secs(1000)));
    assert_eq!(redis.ttl("none").await.expect("ttl"), None);
    assert_eq!(redis.incr("a", -10).await.expect("incr"), -3);
    assert_eq!(redis.incr("n", 5).await.expect("incr"), 5);
    let values = redis.mget(&keys(&["a", "none", "n"])).await.expect("mget");
    assert_eq!(values, [Some(b"-3".to_vec()), None, Some(b"5".to_vec())]);
    assert!(redis.expire("n", Duration::from_millis(1)).await.expect("expire"));
    assert!(!redis.expire("none", Duration::from_millis(1)).await.expect("expire"));
    eventually("it expires", async || redis.get("n").await.is_ok_and(|value| value.is_none())).await;
    assert_eq!(redis.del(&keys(&["a", "none"])).await.expect("del"), 1);
    assert_eq!(redis.publish("channel", b"hello".to_vec()).await.expect("publish"), 0);
    redis.ping().await.expect("ping");
    server.cli(&["LPUSH", "list", "x"]);
    assert!(matches!(redis.get("list").await, Err(Error::Refused(why)) if why.contains("WRONGTYPE")));
}

#[tokio::test]
async fn scripts_stay_inside_their_fence() {
    let server = TestRedis::start();
    let redis = connected(&server).await;
    server.cli(&["SET", "granted", "1"]);
    server.cli(&["SET", "secret", "2"]);
    let run = async |script: &str| redis.eval(script, &keys(&["granted"]), &[b"x".to_vec()]).await;

    assert!(matches!(run("return redis.call('INCR', KEYS[1])").await, Ok(Reply::Integer(2))));
    assert!(matches!(run("return ARGV[1] .. #ARGV").await, Ok(Reply::Bytes(bytes)) if bytes == b"x1"));
    assert!(
        matches!(run("return redis.call('GET', 'granted')").await, Ok(Reply::Bytes(bytes)) if bytes == b"2")
    );
    assert!(matches!(run("return nil").await, Ok(Reply::Nil)));
    assert!(matches!(run("return {1, false, 'a'}").await, Ok(Reply::Items(items))
        if items == [Some(b"1".to_vec()), None, Some(b"a".to_vec())]));
    assert!(matches!(
        run("return tonumber(redis.call('TIME')[1]) > 0 and 1 or 0").await,
        Ok(Reply::Integer(1))
    ));

    for script in [
        "return redis.call('GET', 'secret')",
        "return redis.pcall('GET', 'secret')",
        "return redis.call('MGET', KEYS[1], 'secret')",
        "return redis.call('del', 'secret')",
        "return redis.call('KEYS', '*')",
        "return redis.call('FLUSHALL')",
        "return redis.call('EVAL', 'return 1', '0')",
        "return redis.call('CONFIG', 'GET', '*')",
        "return _G.redis.call('GET', 'secret')",
        "return getfenv(0).redis.call('GET', 'secret')",
        "setfenv(1, {}) return 1",
        "return loadstring('return redis.call(\"GET\", \"secret\")')()",
        "KEYS[1] = 'secret' return redis.call('GET', KEYS[1])",
        "string.find = function() return 1 end return redis.call('GET', 'secret')",
        "('').find = 1",
        "return {1, {2}}",
        "end",
    ] {
        let refused = run(script).await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{script}: {refused:?}");
    }
    assert_eq!(server.cli(&["GET", "secret"]), "2");
    for script in ["return 'elevenchars'", "return {'six...', 'five.'}"] {
        let large = redis.eval_within(10, script, &[], &[]).await;
        assert!(matches!(large, Err(Error::TooLarge(_))), "{script}: {large:?}");
    }
    let large = redis.eval_within(10, "redis.call('SET', KEYS[1], 'abcd')", &keys(&["granted"]), &[]).await;
    assert!(matches!(large, Err(Error::Refused(_))), "the key and the value have eleven: {large:?}");
}

#[tokio::test]
async fn values_together_are_bounded() {
    let server = TestRedis::start();
    let redis = connected(&server).await;
    for name in ["a", "b", "c"] {
        redis.set(name, vec![b'x'; 5], None, Condition::Always).await.expect("set");
    }
    assert_eq!(redis.mget_within(10, &keys(&["a", "b"])).await.expect("they fit").len(), 2);
    assert!(matches!(redis.mget_within(10, &keys(&["a", "b", "c"])).await, Err(Error::TooLarge(_))));
}

#[tokio::test]
async fn an_outage_is_told_at_once_and_passes_by_itself() {
    let server = TestRedis::start();
    let redis = connected(&server).await;
    redis.set("a", b"1".to_vec(), None, Condition::Always).await.expect("set");
    server.kill();
    for _ in 0..3 {
        assert!(matches!(redis.get("a").await, Err(Error::Unavailable(_))));
    }
    server.resume();
    eventually("it is back", async || redis.get("a").await.is_ok()).await;
    assert_eq!(redis.get("a").await.expect("get"), Some(b"1".to_vec()));

    server.freeze();
    assert!(matches!(redis.get("a").await, Err(Error::Unavailable(_))), "it answers nothing");
    server.thaw();
    eventually("it is trusted again", async || redis.get("a").await.is_ok()).await;
}

#[tokio::test]
async fn redis_may_come_later_than_the_host() {
    let server = TestRedis::start();
    server.kill();
    let redis = RedisConnection::open(&server.url()).expect("a connection");
    assert!(matches!(redis.ping().await, Err(Error::Unavailable(_))));
    server.resume();
    assert!(redis.wait_until_up(Duration::from_secs(20)).await);
    redis.ping().await.expect("ping");
    let Err(error) = RedisConnection::open("redis://:hidden@[") else { panic!("not a URL") };
    assert!(!format!("{error:#}").contains("hidden"), "{error:#}");
}

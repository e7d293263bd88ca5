//! A whole native peer for one test.

use std::ops::Deref;
use std::sync::Arc;

use native_shop::{Native, Options};
use wasmyard::capability::postgres::prepare_database;
use wasmyard::testing::servers::{TestPostgres, TestRedis};

use crate::Visitor;
use crate::shop::{client, repository};

/// The program that Wasmyard is measured against, with the shop's sample data in a
/// database and a Redis of its own.
pub struct NativePeer {
    visitor: Visitor,
    _native: Native,
}

impl NativePeer {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Self {
        let database = TestPostgres::shared().database();
        let redis = Arc::new(TestRedis::start());
        let migrations = repository().join("migrations");
        let sample = repository().join("sample_data/shop.sql");
        let prepared = prepare_database(&database, Some(&migrations), &[], Some(&sample)).await;
        prepared.unwrap_or_else(|error| panic!("the database is not made ready: {error:#}"));

        let any_port = ([127, 0, 0, 1], 0).into();
        let (postgres, redis_url) = (database.clone(), redis.url());
        let options = Options { http: any_port, https: any_port, postgres, redis: redis_url };
        let native = Native::start(options).await;
        let native = native.unwrap_or_else(|error| panic!("the native peer does not start: {error:#}"));
        let client = client(native.certificate().as_bytes(), |builder| builder);
        let origin = format!("https://localhost:{}", native.https().port());
        Self { visitor: Visitor { origin, redis: Some(redis), database, client }, _native: native }
    }
}

impl Deref for NativePeer {
    type Target = Visitor;

    fn deref(&self) -> &Visitor {
        &self.visitor
    }
}

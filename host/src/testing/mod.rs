//! For tests of components and of hosts: capabilities that a test scripts, and real
//! servers that live as long as a test.
//!
//! A component's unit test gives it a [`ScriptedPostgres`] and a [`FakeRedis`] through a
//! [`Harness`], whose page has a whole test. They stand behind the same traits as the real ones, so the host functions check keys,
//! sizes and counts exactly as they do in the host.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use wasmyard::capability::cache::Lookup;
//! use wasmyard::capability::postgres::{Error, Postgres, Value};
//! use wasmyard::manifest::KeysGrant;
//! use wasmyard::testing::{FakeRedis, ScriptedPostgres, rows, violation};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let deadline = Instant::now() + Duration::from_secs(5);
//!
//! // A database that is asked these two, in this order, and nothing else.
//! let postgres = ScriptedPostgres::new()
//!     .expect("SELECT", rows(["id", "username"], [vec![Value::Int32(1), Value::Text("alice".into())]]))
//!     .expect("INSERT INTO users", violation("23505", "users_username_key"));
//!
//! let alice = postgres.query("SELECT id, username FROM users", &[], deadline).await.unwrap();
//! assert_eq!(alice.rows.len(), 1);
//! let insert = "INSERT INTO users (username) VALUES ($1)";
//! let taken = postgres.execute(insert, &[Value::Text("alice".into())], deadline).await;
//! assert!(matches!(taken, Err(Error::Database(error)) if error.code == "23505"));
//! assert_eq!(postgres.asked().len(), 2);
//!
//! // A Redis whose clock the test moves.
//! let redis = FakeRedis::new();
//! let (_, cache) = redis.grant(&KeysGrant { keys: vec!["users:*".into()] });
//! let Ok(Lookup::Fill(mut fill)) = cache.backend.lookup("users:1", deadline, None).await else { panic!() };
//! fill.store(b"{}".to_vec(), Duration::from_secs(60)).await;
//! assert_eq!(redis.value("users:1").as_deref(), Some(&b"{}"[..]));
//! redis.advance(Duration::from_secs(61));
//! assert_eq!(redis.value("users:1"), None);
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```

mod auth;
mod harness;
mod postgres;
mod redis;
pub mod servers;

pub use auth::FakeAuth;
pub use harness::{Answer, Call, Harness, HarnessBuilder, reply};
pub use postgres::{Asked, ScriptedAnswer, ScriptedPostgres, rows, violation};
pub use redis::FakeRedis;

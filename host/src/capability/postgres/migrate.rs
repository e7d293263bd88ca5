//! The database made ready before services are let in: migrations, roles, sample
//! data. Safe from several hosts at once, and again and again.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls};

use super::connection::error_chain;
use crate::limits::{POSTGRES_CONNECT_TIMEOUT, POSTGRES_MIGRATION_LOCK_WAIT, POSTGRES_MIGRATION_TIMEOUT};

/// The advisory lock that one host at a time holds while it prepares a database:
/// "wasmyard" as bytes.
const LOCK: i64 = i64::from_be_bytes(*b"wasmyard");

/// Time for the other host to finish with a role.
const ROLE_CLASH_PAUSE: Duration = Duration::from_millis(20);

/// What was done, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The migrations that were applied now, e.g. `V1__schema`.
    pub migrations: Vec<String>,
    /// The roles that did not exist before.
    pub roles_created: Vec<String>,
    /// Whether the database knows upper and lower case beyond ASCII, as its locale has it.
    pub folds_case: bool,
}

/// Prepares the database at `owner_url`: runs the migrations of `migrations` (files
/// `V1__name.sql`, in order, each in a transaction of its own), gives each of `roles`
/// a login with its password, then runs the file `sample` in one transaction; that
/// file must do nothing when the tables already hold rows.
///
/// # Errors
///
/// The database cannot be reached; another host holds the lock for longer than
/// [`POSTGRES_MIGRATION_LOCK_WAIT`]; a file cannot be read or is refused, in which
/// case the error names it. What was applied before stays.
pub async fn prepare_database(
    owner_url: &str,
    migrations: Option<&Path>,
    roles: &[(String, String)],
    sample: Option<&Path>,
) -> Result<Prepared> {
    let mut config = Config::from_str(owner_url).context("postgres.url is not a connection string")?;
    config.application_name("wasmyard/prepare").connect_timeout(POSTGRES_CONNECT_TIMEOUT);
    let connected = timeout(POSTGRES_CONNECT_TIMEOUT * 2, config.connect(NoTls)).await;
    let (mut client, connection) = connected
        .context("the database does not answer")?
        .map_err(|error| anyhow::anyhow!("cannot connect to the database: {}", error_chain(&error)))?;
    // When the client is dropped the connection ends, and the lock with it.
    let task = tokio::spawn(connection);
    let prepared = timeout(POSTGRES_MIGRATION_TIMEOUT, prepare(&mut client, migrations, roles, sample)).await;
    drop(client);
    task.abort();
    prepared.context("the database was not ready in time")?
}

async fn prepare(
    client: &mut Client,
    migrations: Option<&Path>,
    roles: &[(String, String)],
    sample: Option<&Path>,
) -> Result<Prepared> {
    let wait = POSTGRES_MIGRATION_LOCK_WAIT.as_millis();
    let lock = format!("SET lock_timeout = {wait}; SELECT pg_advisory_lock({LOCK}); RESET lock_timeout");
    client.batch_execute(&lock).await.context("another host has been preparing the database for too long")?;

    // Roles come first: a migration grants them their tables.
    let mut roles_created = Vec::new();
    for (role, password) in roles {
        if ensure_role(client, role, password).await.with_context(|| format!("role {role}"))? {
            roles_created.push(role.clone());
        }
    }
    let migrations = match migrations {
        Some(folder) => migrate(client, folder).await?,
        None => Vec::new(),
    };
    if let Some(file) = sample {
        load(client, file).await?;
    }
    Ok(Prepared { migrations, roles_created, folds_case: folds_case(client).await })
}

/// Not so where the letter cannot even be asked for, in an encoding that has none.
async fn folds_case(client: &Client) -> bool {
    let asked = client.query_one("SELECT lower('É') = 'é'", &[]).await;
    asked.is_ok_and(|row| row.get(0))
}

async fn migrate(client: &mut Client, folder: &Path) -> Result<Vec<String>> {
    let shown = folder.display();
    let found = refinery::load_sql_migrations(folder).with_context(|| format!("migrations in {shown}"))?;
    if found.is_empty() {
        bail!("no migrations in {shown}: they are named V1__name.sql, V2__name.sql and so on");
    }
    let report = refinery::Runner::new(&found).run_async(client).await.map_err(|error| {
        // The driver's own text names the migration; its cause says what was wrong.
        let done = error.report().map_or(0, |report| report.applied_migrations().len());
        anyhow::anyhow!("migrations in {shown}, after {done} applied now: {}", error_chain(&error))
    })?;
    Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
}

/// Creates the role or gives it its password again. True when it was created.
///
/// Roles belong to the whole server, the lock to one database: another host that
/// prepares another database may be at the same role, so a clash is tried again.
async fn ensure_role(client: &Client, role: &str, password: &str) -> Result<bool> {
    let mut attempts_left = 10;
    loop {
        let known = client.query_opt("SELECT 1 FROM pg_roles WHERE rolname = $1", &[&role]).await?.is_some();
        let verb = if known { "ALTER" } else { "CREATE" };
        let sql = format!("{verb} ROLE {} LOGIN PASSWORD {}", quoted(role, '"')?, quoted(password, '\'')?);
        let Err(error) = client.batch_execute(&sql).await else { return Ok(!known) };
        let clash = error.code().is_some_and(|code| matches!(code.code(), "42710" | "23505" | "XX000"));
        attempts_left -= 1;
        if !clash || attempts_left == 0 {
            bail!("{}", error_chain(&error));
        }
        tokio::time::sleep(ROLE_CLASH_PAUSE).await;
    }
}

async fn load(client: &mut Client, file: &Path) -> Result<()> {
    let shown = file.display();
    let sql = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    let transaction = client.transaction().await?;
    let ran = transaction.batch_execute(&sql).await;
    ran.map_err(|error| anyhow::anyhow!("{shown}{}: {}", line_of(&error, &sql), error_chain(&error)))?;
    transaction.commit().await.map_err(|error| anyhow::anyhow!("{shown}: {}", error_chain(&error)))
}

/// ` line 7`, where the database said at which character it stumbled.
fn line_of(error: &tokio_postgres::Error, sql: &str) -> String {
    use tokio_postgres::error::ErrorPosition;
    let Some(ErrorPosition::Original(at)) = error.as_db_error().and_then(|db| db.position()) else {
        return String::new();
    };
    let before = sql.chars().take(*at as usize).filter(|c| *c == '\n').count();
    format!(" line {}", before + 1)
}

/// A text inside quotes of SQL, the quote itself doubled. Backslashes mean
/// themselves, as `standard_conforming_strings` has it since PostgreSQL 9.1.
fn quoted(text: &str, quote: char) -> Result<String> {
    if text.is_empty() || text.contains('\0') {
        bail!("a name or password is not empty and holds no NUL byte");
    }
    let doubled = text.replace(quote, &format!("{quote}{quote}"));
    Ok(format!("{quote}{doubled}{quote}"))
}

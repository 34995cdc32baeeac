//! Owns the command line: what is asked, what is printed, the exit status (0 done, 1 failed, 2 wrong usage).

mod quota;

use crate::app::App;
use crate::config::{self, ServeConfig};
use crate::env::{Env, disk};
use crate::packs::{self, PackStore};
use crate::service::chunks::{self, Report};
use crate::service::{accounts, check, recover};
use crate::store::Database;
use crate::telemetry::{self, LogFormat};
use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use quota::{Quota, QuotaArgs};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Faults of the database that are named at once.
const PAGES_NAMED_MAX: usize = 100;

/// Tarn's server: orders all changes, keeps all content, tells the other devices.
#[derive(Debug, Parser)]
#[command(name = "tarn-server", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Least severe log lines to write, or a filter such as `info,tarn::put=debug`.
    #[arg(long, global = true, default_value = "info")]
    log_level: String,
    /// How log lines look.
    #[arg(long, global = true, value_enum, default_value = "plain")]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server until SIGTERM or SIGINT.
    Serve(ServeArgs),
    /// Manages accounts.
    #[command(subcommand)]
    User(UserCommand),
    /// After the data were put back from a backup, before `serve`: devices bring back what the backup lacks.
    Restore(RestoreArgs),
    /// Reads everything and says what does not agree; repairs nothing. Exits 1 if there are findings.
    Check(StoreArgs),
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Makes an account. Works while the server runs.
    Add(AddArgs),
    /// Says how much an account may use. Works while the server runs; what is beyond it stays.
    Quota(QuotaArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Directory for the database, the objects and the file `address`; made if absent.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = config::DEFAULT_LISTEN)]
    listen: SocketAddr,
    /// The database: sqlite://FILE?mode=rwc or postgres://… [default: DIR/tarn.db]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// The object store: file://DIR or s3://BUCKET/PREFIX [default: DIR/objects]
    #[arg(long, value_name = "URL")]
    objects: Option<String>,
    /// Take passwords over plain HTTP from other machines.
    #[arg(long)]
    insecure: bool,
    /// Append one JSON line for each acknowledged chunk upload to FILE.
    #[arg(long, value_name = "FILE")]
    put_log: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct AddArgs {
    /// The account's name, 1 to 64 characters.
    name: String,
    /// Read the password from standard input, up to its end or one newline.
    #[arg(long, required = true)]
    password_stdin: bool,
    /// Bytes that its files may have together (500MB, 20GiB), or none.
    #[arg(long, value_name = "BYTES", default_value = "none")]
    quota: Quota,
    /// The server's data directory.
    #[arg(long, value_name = "DIR", required_unless_present = "database")]
    data: Option<PathBuf>,
    /// The server's database.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

#[derive(Debug, Args)]
struct RestoreArgs {
    /// The server's data directory.
    #[arg(long, value_name = "DIR", required_unless_present = "database")]
    data: Option<PathBuf>,
    /// The server's database.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

#[derive(Debug, Args)]
struct StoreArgs {
    /// The server's data directory.
    #[arg(long, value_name = "DIR", required_unless_present_all = ["database", "objects"])]
    data: Option<PathBuf>,
    /// The server's database.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// The server's object store.
    #[arg(long, value_name = "URL")]
    objects: Option<String>,
}

/// Runs what the arguments ask for.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = telemetry::init_logs(&cli.log_level, cli.log_format) {
        eprintln!("tarn-server: {error}");
        return ExitCode::from(2);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.context("the runtime").and_then(|runtime| runtime.block_on(run(cli.command))) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("tarn-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Serve(args) => serve(args).await,
        Command::User(UserCommand::Add(args)) => add_user(args).await,
        Command::User(UserCommand::Quota(args)) => quota::set(args).await,
        Command::Restore(args) => restore(args).await,
        Command::Check(args) => check_stores(args).await,
    }
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("standard output")
}

async fn serve(args: ServeArgs) -> Result<ExitCode> {
    let config = ServeConfig {
        database: args.database.unwrap_or_else(|| config::default_database(&args.data)),
        objects: args.objects.unwrap_or_else(|| config::default_objects(&args.data)),
        data: args.data,
        listen: args.listen,
        insecure: args.insecure,
        put_log: args.put_log,
    };
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let app = App::start(&config, Env::real()).await?;
    say(&format!("listening on http://{}", app.address()))?;
    tokio::select! {
        _ = term.recv() => tracing::info!("SIGTERM: ending"),
        _ = int.recv() => tracing::info!("SIGINT: ending"),
    }
    app.stop().await?;
    Ok(ExitCode::SUCCESS)
}

async fn add_user(args: AddArgs) -> Result<ExitCode> {
    let mut password = String::new();
    std::io::stdin().read_to_string(&mut password).context("the password on standard input")?;
    let password = password.strip_suffix('\n').unwrap_or(&password).to_owned();
    let db = open_database(args.data.as_deref(), args.database).await?;
    let added = accounts::add(&db, &Env::real(), &args.name, password, args.quota.0).await;
    db.close().await;
    match added {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(crate::service::Failure::Refused { detail, .. }) => anyhow::bail!(detail),
        Err(error) => Err(error.into()),
    }
}

async fn open_database(data: Option<&Path>, url: Option<String>) -> Result<Database> {
    if let Some(data) = data {
        disk::create_dir_durable(data).with_context(|| format!("{}", data.display()))?;
    }
    let url = url.or_else(|| data.map(config::default_database)).context("--data or --database")?;
    Database::open(&url).await.context("the database")
}

async fn restore(args: RestoreArgs) -> Result<ExitCode> {
    check_is_data(args.data.as_deref(), args.database.is_some())?;
    let db = open_database(args.data.as_deref(), args.database).await?;
    let begun = recover::begin_epochs(&db, &Env::real()).await;
    db.close().await;
    let count = begun?;
    say(&format!("{count} spaces go on as a new history; devices will bring back what they have beyond this copy"))?;
    Ok(ExitCode::SUCCESS)
}

/// A mistyped path must not be made an empty server's.
fn check_is_data(data: Option<&Path>, has_database: bool) -> Result<()> {
    let Some(data) = data else { return Ok(()) };
    if !data.is_dir() {
        anyhow::bail!("{}: there is no such directory", data.display());
    }
    if !has_database && !config::default_database_path(data).is_file() {
        anyhow::bail!(
            "{}: no server keeps its data here: give the DIR of `serve --data`, or --database",
            data.display()
        );
    }
    Ok(())
}

async fn check_stores(args: StoreArgs) -> Result<ExitCode> {
    let data = args.data.as_deref();
    check_is_data(data, args.database.is_some())?;
    let objects = args.objects.or_else(|| data.map(config::default_objects)).context("--data or --objects")?;
    let db = open_database(data, args.database).await?;
    let packs = packs::open(&objects).await.context("the object store")?;
    let (findings, infos) = check_all(&db, &*packs).await?;
    for info in &infos {
        say(&format!("info: {info}"))?;
    }
    for finding in &findings {
        say(&format!("finding: {finding}"))?;
    }
    say(&format!("{} findings", findings.len()))?;
    db.close().await;
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Findings, and what is only to be known. A damaged database hides what it cannot read: that is said, and the rest looked at.
async fn check_all(db: &Database, packs: &dyn PackStore) -> Result<(Vec<String>, Vec<String>)> {
    let damaged = db.damaged_pages(PAGES_NAMED_MAX).await.context("the database")?;
    let (mut findings, mut infos) = (Vec::new(), Vec::new());
    findings.extend(damaged.into_iter().map(|said| format!("database: {said}")));
    let is_damaged = !findings.is_empty();
    match check::check_tree(db).await {
        Ok(found) => findings.extend(found),
        Err(error) if is_damaged => findings.push(format!("the rows of nodes cannot all be read: {error}")),
        Err(error) => return Err(error.into()),
    }
    let mut sort = |report| match report {
        Report::Finding(text) => findings.push(text),
        Report::Info(text) => infos.push(text),
    };
    match chunks::check(db, packs, &mut sort).await {
        Err(error) if is_damaged => findings.push(format!("the rows of chunks cannot all be read: {error}")),
        checked => checked?,
    }
    if is_damaged {
        infos.push(
            "the database is damaged: stop the server and put back a backup, or `sqlite3 tarn.db .recover`".into(),
        );
    }
    Ok((findings, infos))
}

//! Owns logs and metrics: their set-up, and the names that are not written where they are counted.
//!
//! Log targets: `tarn::access` (one line per request), `tarn::put` (acknowledged uploads), and module
//! paths. Metrics are counted with the `metrics` crate's macros and rendered for Prometheus.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

/// Seconds from first byte to last of a request, by route, method and status.
pub const REQUEST_SECONDS: &str = "tarn_http_request_seconds";
/// Notice sockets that are open.
pub const NOTIFY_SOCKETS: &str = "tarn_notify_sockets";

const SECONDS: &[f64] = &[0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Plain,
    /// One JSON object per line.
    Json,
}

/// Sends logs to standard error. `level` is a level or a filter such as `info,tarn::put=debug`.
///
/// # Errors
/// The filter is malformed.
pub fn init_logs(level: &str, format: LogFormat) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|error| format!("--log-level {level}: {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    let done = match format {
        LogFormat::Plain => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    // A second initialisation is a test's; the first one stays.
    drop(done);
    Ok(())
}

/// Starts counting, once per process.
pub fn init_metrics() {
    recorder();
}

/// Sums up what was measured since the last time, so that it does not pile up unread.
pub fn tend_metrics() {
    recorder().run_upkeep();
}

/// The counts in Prometheus' text form.
pub fn render_metrics() -> String {
    recorder().render()
}

fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(REQUEST_SECONDS.to_owned()), SECONDS)
            .expect("there are buckets");
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // Another recorder may be installed by who embeds this crate; then this one stays empty.
        drop(metrics::set_global_recorder(recorder));
        handle
    })
}

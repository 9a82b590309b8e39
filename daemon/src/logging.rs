//! The log: `LEVEL yyyy/mm/dd hh:mm:ss text` on standard output, in local time (control-protocol 1.5).

use std::fmt;

use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};
use worknode_protocol::config::model::LogLevel;

struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "DEBUG",
        };
        write!(out, "{level} {} ", jiff::Zoned::now().strftime("%Y/%m/%d %H:%M:%S"))?;
        ctx.field_format().format_fields(out.by_ref(), event)?;
        writeln!(out)
    }
}

/// Sends the log of this process to standard output. Libraries may warn, but not chatter: they log payloads and
/// headers at their lower levels.
pub fn start(level: LogLevel) {
    let own = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let filter = tracing_subscriber::filter::Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        .with_target("worknode", own)
        .with_target("worknoded", own);
    let layer = tracing_subscriber::fmt::layer().event_format(Line).with_ansi(false);
    // A second subscriber in one process (tests) is no fault.
    let _ = tracing_subscriber::registry().with(filter).with(layer).try_init();
}

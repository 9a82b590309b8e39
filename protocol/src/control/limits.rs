/// Longest command line accepted, in bytes without the line feed, unless configured: 16 MiB.
///
/// The original has no limit. A submit carries pod definitions and kubeconfigs in its line, which are far smaller.
pub const DEFAULT_MAX_LINE_BYTES: usize = 16 << 20;

/// Connections served at once, over all listeners, unless configured.
pub const DEFAULT_MAX_CONNECTIONS: usize = 10_000;

/// What a control service takes from strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest command line in bytes.
    pub max_line_bytes: usize,
    /// Connections served at once.
    pub max_connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_line_bytes: DEFAULT_MAX_LINE_BYTES, max_connections: DEFAULT_MAX_CONNECTIONS }
    }
}

//! The control protocol: one line in, one line out (control-protocol 2.3 and 3).
//!
//! A session greets with [`banner`], then takes commands. [`parse()`] turns a line into a [`Request`] that is whole, or
//! into the [`Refusal`] to answer; the types ending in `Answer` turn into the line that answers. Texts after `ERROR: `
//! are the `Display` of the enums in this module and stand nowhere else.
//!
//! [`client`] is the other half of the dialogue, for whoever sends the commands. Neither half does I/O.

pub mod client;
pub mod follow;
pub mod token;

mod answer;
mod encode;
mod error;
mod limits;
mod node_status;
mod parse;
mod request;

pub use answer::{
    CONNECTING, CancelAnswer, DescribeAnswer, PingAnswer, PruneAnswer, ReleaseAnswer, ReloadAnswer, SubmitAnswer,
    TracerouteAnswer, UnitListAnswer, banner, created, error_line, streaming,
};
pub use error::{
    ConnectError, Denied, ParamError, PingProblem, ReloadError, RemoteError, RequestError, SessionError,
    SignatureError, SubmitError, UnitError,
};
pub use limits::{DEFAULT_MAX_CONNECTIONS, DEFAULT_MAX_LINE_BYTES, Limits};
pub use node_status::{Advertisement, ConnectionCost, NodeStatus, WorkCommand};
pub use parse::{Parsed, Refusal, parse};
pub use request::{Params, Prune, Request, Results, Submit, Token, UnitCommand, WorkRequest, is_secret_name};

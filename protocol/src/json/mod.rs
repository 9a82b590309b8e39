//! JSON as it stands on the wire and in status files: the original's writer and reader, to the byte.
//!
//! Writing ([`to_string`], [`to_line`]) follows control-protocol 2.3: no blanks, `<`, `>`, `&`, U+2028 and U+2029
//! escaped, other non-ASCII characters raw. Structures keep their order of declaration, so an answer that the original
//! builds from a map must be given as a `BTreeMap` or declared in byte order.
//!
//! Reading ([`parse`]) takes what Go's decoder takes: bytes that are not UTF-8 and lone surrogates become U+FFFD, the
//! last of several equal keys wins, and every refusal has Go's text. Objects keep the order of their keys.

mod read;
mod write;

pub use read::{JsonError, MAX_DEPTH, decode_lossy, parse};
pub use write::{to_line, to_string};

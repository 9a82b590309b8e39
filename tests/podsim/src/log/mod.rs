//! Container logs: written as a container runtime writes them, read as a kubelet reads them.
//!
//! A log is a file of records, one per line of output, in the format of the container runtime interface. The pumps of
//! stdout and stderr append to it ([`ContainerLog`]); any number of readers follow the file itself ([`LogStream`]) and
//! are woken when it has grown, so that a burst costs one wake and one read, however many lines it has.
//!
//! Files are read and written on the runtime's threads, without a detour over the blocking pool: what is read was
//! written by this process moments ago and is in the page cache, so that such a call takes microseconds.

mod record;
mod stream;
mod writer;

pub(crate) use record::Source;
pub(crate) use stream::{LogQuery, LogStream};
pub(crate) use writer::{ContainerLog, Splitter};

//! Work units: their directories, their tasks, and what clients ask of them.
//!
//! [`units`] is the table and makes units, [`mod@unit`] is the task that owns one, [`store`] its files, [`results`] streams
//! its output, [`file_events`] tells when a file grows, [`orphans`] finds what no unit owns.

pub mod block_writer;
pub mod describe;
pub mod file_events;
mod leftovers;
pub mod orphans;
pub mod results;
pub mod signature;
pub mod store;
pub mod unit;
pub mod units;

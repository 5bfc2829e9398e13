//! SQLite: the work runs on the session's own `sqlite3*`.
//!
//! `entry` is the way to the handle, `bind` a statement with parameters, `feed` a slice as a table, `sql` the text, `encode` and `decode`
//! the values, `job` the loop, `error` what the library said.

pub mod bind;
pub mod decode;
pub mod encode;
pub mod entry;
pub mod error;
pub mod feed;
pub mod job;
pub mod sql;

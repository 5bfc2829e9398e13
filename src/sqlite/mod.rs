//! SQLite: the work runs on the session's own `sqlite3*`.
//!
//! `entry` is the way to the handle, `job` the work of a slice: its insert, or `keyed` (update,
//! delete) or `upsert`, which compare `keys`. `bind` is a statement with parameters, `feed` a slice
//! as a table, `catalog` what the database says of the table, `sql` the text, `encode` and `decode`
//! the values, `error` what the library said.

pub mod bind;
pub mod catalog;
pub mod decode;
pub mod encode;
pub mod entry;
pub mod error;
pub mod feed;
pub mod job;
pub mod keyed;
pub mod keys;
pub mod sql;
pub mod upsert;

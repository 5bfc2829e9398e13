//! `MySQL` and `MariaDB`: statements with their values written out, carried by the session's own
//! driver, and a connection of our own, which also takes values without SQL around them.
//!
//! `text` writes literals that mean the same under every `sql_mode`, `encode` the values of a
//! column, `sql` whole statements, `keyed` and `upsert` those of rows that are found by their keys;
//! `writer` and `keyed_writer` are what Python calls. A connection is opened by `connect` with
//! `settings`; `fields` are the values that `load` and `bulk` send over it, `answer` and `error` are
//! what it gives.

mod answer;
mod bulk;
pub mod connect;
pub mod encode;
pub mod error;
mod fields;
pub mod keyed;
pub mod keyed_writer;
mod load;
mod settings;
pub mod sql;
pub mod text;
pub mod upsert;
pub mod writer;

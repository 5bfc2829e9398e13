//! `MySQL` and `MariaDB`: statements with their values written out, carried by the session's own
//! driver.
//!
//! `text` writes literals that mean the same under every `sql_mode`, `encode` the values of a
//! column, `sql` whole statements, `keyed` and `upsert` those of rows that are found by their keys;
//! `writer` and `keyed_writer` are what Python calls.

pub mod encode;
pub mod keyed;
pub mod keyed_writer;
pub mod sql;
pub mod text;
pub mod upsert;
pub mod writer;

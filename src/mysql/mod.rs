//! `MySQL` and `MariaDB`: statements with their values written out, carried by the session's own
//! driver.
//!
//! `text` writes literals that mean the same under every `sql_mode`, `encode` the values of a
//! column, `sql` whole statements; `writer` is what Python calls.

pub mod encode;
pub mod sql;
pub mod text;
pub mod writer;

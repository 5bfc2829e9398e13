//! PostgreSQL: bytes for COPY and texts for `unnest`, carried by the session's own driver.
//!
//! `encode` writes binary fields, `text` the elements of array literals, `sql` the statements;
//! `writer` is what Python calls.

pub mod encode;
pub mod numeric;
pub mod sql;
pub mod text;
pub mod writer;

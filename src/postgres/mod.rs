//! PostgreSQL: bytes for COPY and texts for `unnest`, carried by the session's own driver or by a
//! connection of our own.
//!
//! `encode` writes binary fields, `array` arrays of them, `text` the elements of array literals,
//! `sql` the statements; `writer` is what Python calls for them, and `keyed` for rows that are
//! found by their keys. A connection is opened by `connect` with `settings` and `tls`; `answer` and
//! `error` are what it gives. `decode` makes columns of an answer's rows, or of those of a result
//! that a driver's `libpq` holds.

pub mod answer;
mod array;
pub mod connect;
mod decode;
mod encode;
pub mod error;
pub mod keyed;
mod keyed_sql;
pub mod libpq;
mod numeric;
mod settings;
mod sql;
mod text;
mod tls;
pub mod writer;

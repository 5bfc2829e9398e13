//! fastbulk's native half.
//!
//! ```text
//!  Python: mapper -> Plan            Rust
//!  rows ──────────> input/ (GIL held)  rows -> Source -> Slice: columns of Values
//!                   sqlite/ …          Slice -> encode -> the database -> decode -> Outcome
//!  Result <──────── output (GIL held)  Outcome -> tuples
//! ```
//!
//! `plan` says what to do and `kind` what values are made of; neither knows SQLAlchemy. A backend
//! is one folder, and no backend knows its siblings. To add a type, a driver or a backend, see
//! `CONTRIBUTING.md`.

use pyo3::prelude::*;

mod calendar;
mod error;
mod export;
mod gate;
mod input;
mod iso;
mod kind;
mod loaded;
mod mysql;
mod output;
mod own;
mod plan;
mod postgres;
mod slice;
mod sqlite;
mod values;

#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::error::{ColumnError, RowError};
    #[pymodule_export]
    use crate::input::arrow::Columns;
    #[pymodule_export]
    use crate::input::returned::{ReturnedColumn, returned_table};
    #[pymodule_export]
    use crate::input::source::Source;
    #[pymodule_export]
    use crate::mysql::connect::MysqlConnection;
    #[pymodule_export]
    use crate::mysql::error::MysqlError;
    #[pymodule_export]
    use crate::mysql::keyed_writer::{MysqlKeyed, mysql_example_sql};
    #[pymodule_export]
    use crate::mysql::writer::MysqlWriter;
    #[pymodule_export]
    use crate::output::Outcome;
    #[pymodule_export]
    use crate::plan::{Column, Plan};
    #[pymodule_export]
    use crate::postgres::answer::PostgresRows;
    #[pymodule_export]
    use crate::postgres::connect::PostgresConnection;
    #[pymodule_export]
    use crate::postgres::error::PostgresError;
    #[pymodule_export]
    use crate::postgres::keyed::{PostgresKeyed, postgres_keyed_sql};
    #[pymodule_export]
    use crate::postgres::libpq::Libpq;
    #[pymodule_export]
    use crate::postgres::writer::{PostgresWriter, postgres_values};
    #[pymodule_export]
    use crate::slice::Slice;
    #[pymodule_export]
    use crate::sqlite::entry::{SqliteJob, sqlite_install, sqlite_probe, sqlite_ready};
    #[pymodule_export]
    use crate::sqlite::sql::sqlite_example_sql;
}

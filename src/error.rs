//! One error, and its one conversion to Python exceptions.

use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::prelude::*;

create_exception!(
    fastbulk._native,
    RowError,
    PyException,
    "A value that can't be sent: args are (row, key, value, reason, cause)."
);

create_exception!(
    fastbulk._native,
    ColumnError,
    PyException,
    "A column of rows that can't be sent: args are (key, position, Arrow type or None)."
);

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong below the Python line.
///
/// "Your data is wrong" (`Row`), "Python raised" (`Python`) and "the database said no"
/// (`sqlite::Failure`, kept by its job) never share a variant.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("row {}: {}", .0.row, .0.reason)]
    Row(Box<BadValue>),
    #[error("column {:?} can't be sent", .0.key)]
    Column(Box<BadColumn>),
    #[error(transparent)]
    Python(#[from] PyErr),
    /// A value or row needs Python code, which runs on the caller's thread alone.
    #[error("Python code is needed")]
    Foreign,
    /// A fault of fastbulk's own code.
    #[error("{0}")]
    Internal(String),
}

/// A value that can't be sent, and where it stands.
#[derive(Debug)]
pub struct BadValue {
    pub row: usize,
    pub key: String,
    pub value: Option<Py<PyAny>>,
    pub reason: String,
    pub cause: Option<PyErr>,
}

/// A column whose values can't be stored by their type, or that stands there twice.
#[derive(Debug)]
pub struct BadColumn {
    pub key: String,
    /// Its position in the plan.
    pub column: usize,
    /// Arrow's name of the type; None where that is not what is wrong.
    pub given: Option<String>,
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Row(bad) => {
                RowError::new_err((bad.row, bad.key, bad.value, bad.reason, bad.cause))
            }
            Error::Column(bad) => ColumnError::new_err((bad.key, bad.column, bad.given)),
            Error::Python(error) => error,
            Error::Foreign => PyRuntimeError::new_err(error.to_string()),
            Error::Internal(message) => PyRuntimeError::new_err(message),
        }
    }
}

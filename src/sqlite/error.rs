//! What went wrong in a job, and with which row.

use std::fmt;

use pyo3::PyErr;

use super::job::is_about_a_row;

/// A failed job.
#[derive(Debug)]
pub struct Failure {
    pub reason: Reason,
    pub sql: String,
    /// The position in its slice of the row that failed, where it is known.
    pub row: Option<usize>,
}

impl Failure {
    /// The failure of a statement for that row alone.
    pub fn of_row(self, row: usize) -> Self {
        Self { row: is_about_a_row(&self.reason).then_some(row), ..self }
    }
}

#[derive(Debug)]
pub enum Reason {
    /// SQLite said no, with an extended result code.
    Refused { code: i32, message: String },
    /// A signal handler raised.
    Interrupted(PyErr),
    /// RETURNING gave another number of rows than were sent (a trigger dropped some).
    RowsLost { sent: usize, returned: usize },
    /// Two rows of the slice have the same key.
    Duplicate { first: usize, second: usize },
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { message, .. } => formatter.write_str(message),
            Self::Interrupted(error) => write!(formatter, "interrupted: {error}"),
            Self::RowsLost { sent, returned } => {
                write!(formatter, "{sent} rows were sent and {returned} came back")
            }
            Self::Duplicate { first, second } => {
                write!(formatter, "rows {first} and {second} have the same key")
            }
        }
    }
}

pub type Result<T> = std::result::Result<T, Failure>;

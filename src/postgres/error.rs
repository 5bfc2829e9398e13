//! What the server said, for Python to raise as the driver's own exception.

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use tokio_postgres::error::{DbError, ErrorPosition, Severity};

create_exception!(
    fastbulk._native,
    PostgresError,
    PyException,
    "The server's error, or the connection's: args are (message, fields by their letters)."
);

/// The fields keep the letters that the protocol gives them
/// (<https://www.postgresql.org/docs/current/protocol-error-fields.html>); a lost connection has
/// none.
pub fn from_server(error: tokio_postgres::Error) -> PyErr {
    match error.as_db_error() {
        Some(said) => PostgresError::new_err((said.message().to_owned(), fields(said))),
        None => PostgresError::new_err((with_causes(&error), Vec::<(char, String)>::new())),
    }
}

fn fields(said: &DbError) -> Vec<(char, String)> {
    let position = match said.position() {
        Some(ErrorPosition::Original(position)) => Some(position.to_string()),
        Some(ErrorPosition::Internal { .. }) | None => None,
    };
    let text = |value: Option<&str>| value.map(str::to_owned);
    [
        ('S', text(Some(said.severity()))),
        ('V', severity(said).map(str::to_owned)),
        ('C', text(Some(said.code().code()))),
        ('M', text(Some(said.message()))),
        ('D', text(said.detail())),
        ('H', text(said.hint())),
        ('P', position),
        ('W', text(said.where_())),
        ('s', text(said.schema())),
        ('t', text(said.table())),
        ('c', text(said.column())),
        ('d', text(said.datatype())),
        ('n', text(said.constraint())),
        ('F', text(said.file())),
        ('L', said.line().map(|line| line.to_string())),
        ('R', text(said.routine())),
    ]
    .into_iter()
    .filter_map(|(letter, value)| Some((letter, value?)))
    .collect()
}

/// In English, whatever the server's language.
fn severity(said: &DbError) -> Option<&'static str> {
    Some(match said.parsed_severity()? {
        Severity::Panic => "PANIC",
        Severity::Fatal => "FATAL",
        Severity::Error => "ERROR",
        Severity::Warning => "WARNING",
        Severity::Notice => "NOTICE",
        Severity::Debug => "DEBUG",
        Severity::Info => "INFO",
        Severity::Log => "LOG",
    })
}

/// The library's own text leaves out what an error is about.
fn with_causes(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

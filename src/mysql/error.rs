//! What the server said, for Python to raise as the driver's own exception.

use mysql_async::Error;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(
    fastbulk._native,
    MysqlError,
    PyException,
    "The server's error, or the connection's: args are (message, code, SQLSTATE)."
);

/// A lost connection has neither code nor SQLSTATE.
pub fn from_server(error: &Error) -> PyErr {
    match error {
        Error::Server(said) => {
            MysqlError::new_err((said.message.clone(), Some(said.code), Some(said.state.clone())))
        }
        Error::Driver(_) | Error::Io(_) | Error::Other(_) | Error::Url(_) => {
            MysqlError::new_err((error.to_string(), None::<u16>, None::<String>))
        }
    }
}

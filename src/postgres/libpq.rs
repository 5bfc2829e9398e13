//! Rows of a result of libpq's that a driver holds, read by the functions of the driver's own libpq.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::slice;

use libloading::Library;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use tokio_postgres::types::Type;

use super::decode;
use crate::loaded;
use crate::output::Outcome;

type Get<T> = unsafe extern "C" fn(*const c_void, c_int, c_int) -> T;

/// What reads a `PGresult` (<https://www.postgresql.org/docs/current/libpq-exec.html>).
#[pyclass(frozen, module = "fastbulk._native")]
pub struct Libpq {
    value: Get<*const c_char>,
    length: Get<c_int>,
    is_null: Get<c_int>,
}

#[pymethods]
impl Libpq {
    /// That of the loaded library at `path`, or of one that it is linked with; None if there is
    /// none.
    #[staticmethod]
    fn of(path: &str) -> Option<Self> {
        let library = loaded::library(path)?;
        // SAFETY: the functions have had these signatures since the first libpq. The library is
        // never unloaded: Python does not unload extension modules, and `library` is leaked.
        unsafe {
            let found = Self {
                value: function(&library, b"PQgetvalue\0")?,
                length: function(&library, b"PQgetlength\0")?,
                is_null: function(&library, b"PQgetisnull\0")?,
            };
            std::mem::forget(library);
            Some(found)
        }
    }

    /// The rows of a result as columns, without the GIL. None where a value is none that Arrow and
    /// Python have as `PostgreSQL` has it.
    ///
    /// `result` is the address of the result, which the caller keeps from being cleared; it has so
    /// many rows, and columns of these types, in the format of texts.
    fn outcome(
        &self,
        py: Python<'_>,
        result: usize,
        rows: usize,
        types: Vec<u32>,
    ) -> Option<Outcome> {
        py.detach(|| {
            let columns = types
                .into_iter()
                .enumerate()
                .map(|(column, oid)| {
                    let texts: Option<Vec<_>> =
                        (0..rows).map(|row| self.text(result, row, column)).collect();
                    decode::series(&Type::from_oid(oid)?, texts?.into_iter())
                })
                .collect::<Option<_>>()?;
            Some(Outcome { rows, columns, ..Outcome::default() })
        })
    }

    /// The rows of a result as the texts of their values; None where one is not UTF-8.
    fn texts<'py>(
        &self,
        py: Python<'py>,
        result: usize,
        rows: usize,
        columns: usize,
    ) -> PyResult<Option<Vec<Bound<'py, PyTuple>>>> {
        let texts = |row| (0..columns).map(|column| self.text(result, row, column)).collect();
        let rows: Option<Vec<Vec<_>>> = (0..rows).map(texts).collect();
        rows.map(|rows| rows.into_iter().map(|row| PyTuple::new(py, row)).collect()).transpose()
    }
}

impl Libpq {
    /// A value, or None for NULL; None where it is not UTF-8.
    #[allow(clippy::option_option)] // two different things
    fn text(&self, result: usize, row: usize, column: usize) -> Option<Option<&str>> {
        let (result, row, column) = (result as *const c_void, row as c_int, column as c_int);
        // SAFETY: a result is not changed after it was received, and may be read by any thread. A
        // row or a column that is not there is NULL to libpq.
        let bytes = unsafe {
            if (self.is_null)(result, row, column) != 0 {
                return Some(None);
            }
            let length = (self.length)(result, row, column);
            let start = (self.value)(result, row, column);
            slice::from_raw_parts(start.cast::<u8>(), usize::try_from(length).ok()?)
        };
        str::from_utf8(bytes).ok().map(Some)
    }
}

/// A function of the library.
///
/// # Safety
/// It must have that signature.
unsafe fn function<T>(library: &Library, name: &[u8]) -> Option<Get<T>> {
    // SAFETY: as the caller says.
    unsafe { library.get::<Get<T>>(name) }.ok().map(|found| *found)
}

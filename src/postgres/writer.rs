//! What Python calls: bytes for COPY, statements for everything else.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::encode::{Field, NO_NUL, null};
use super::sql::{self, Place, Target, place};
use crate::error::{Error, Result};
use crate::output;
use crate::plan::Plan;
use crate::slice::Slice;

/// The signature, no flags, no extension
/// (<https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format").
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// Pieces in which COPY data is handed to the driver.
const PIECE: usize = 256 << 10;

/// Encodes slices for a table as the catalog describes it.
#[pyclass(frozen, module = "fastbulk._native")]
pub struct PostgresWriter {
    plan: Py<Plan>,
    targets: Vec<Target>,
}

#[pymethods]
impl PostgresWriter {
    /// `targets` has (binary type, cast, default) per column of the plan.
    #[new]
    fn new(plan: Py<Plan>, targets: Vec<(Option<String>, Option<String>, Option<String>)>) -> Self {
        let targets = targets
            .into_iter()
            .map(|(binary_type, cast, default)| Target { binary_type, cast, default })
            .collect();
        Self { plan, targets }
    }

    /// The columns that COPY fills from this slice, or the first one that it can't.
    fn copy_columns(&self, slice: &Slice) -> (Vec<usize>, Option<usize>) {
        match self.columns(slice) {
            Ok(columns) => (columns, None),
            Err(column) => (Vec::new(), Some(column)),
        }
    }

    /// The COPY statement for these columns.
    fn copy_sql(&self, columns: Vec<usize>) -> String {
        sql::copy(self.plan.get(), &columns)
    }

    /// The slice as COPY data, without the GIL. The first piece of a COPY begins with its header,
    /// the last one ends it.
    #[pyo3(signature = (slice, columns, *, first, last))]
    fn copy<'py>(
        &self,
        py: Python<'py>,
        slice: &Slice,
        columns: Vec<usize>,
        first: bool,
        last: bool,
    ) -> Result<Vec<Bound<'py, PyBytes>>> {
        let pieces = py.detach(|| self.encode(slice, &columns, first, last));
        let pieces =
            pieces.map_err(|(row, column, reason)| self.refuse(py, slice, row, column, reason))?;
        Ok(pieces.iter().map(|piece| PyBytes::new(py, piece)).collect())
    }

    /// The INSERT statement for rows `start..end` of the slice, without the GIL.
    fn insert(&self, py: Python<'_>, slice: &Slice, start: usize, end: usize) -> Result<String> {
        let sql = py.detach(|| sql::insert(self.plan.get(), slice, &self.targets, start..end));
        sql.map_err(|(row, column)| self.refuse(py, slice, row, column, NO_NUL))
    }
}

/// The INSERT..VALUES statement for a slice of few rows.
#[pyfunction]
pub fn postgres_values(py: Python<'_>, plan: Py<Plan>, slice: &Slice) -> Result<String> {
    let writer = PostgresWriter { plan, targets: Vec::new() };
    sql::values(writer.plan.get(), slice)
        .map_err(|(row, column)| writer.refuse(py, slice, row, column, NO_NUL))
}

impl PostgresWriter {
    fn columns(&self, slice: &Slice) -> std::result::Result<Vec<usize>, usize> {
        let mut columns = Vec::new();
        for (column, series) in slice.columns.iter().enumerate() {
            match place(self.plan.get(), slice, &self.targets, column) {
                Place::Out => continue,
                Place::Masked | Place::Default => return Err(column),
                Place::Sent => {}
            }
            let target = self.targets[column].binary_type.as_deref();
            match target.and_then(|typname| Field::new(series, typname, slice.rows)) {
                Some(_) => columns.push(column),
                None => return Err(column),
            }
        }
        if columns.is_empty() { Err(0) } else { Ok(columns) }
    }

    fn encode(
        &self,
        slice: &Slice,
        columns: &[usize],
        first: bool,
        last: bool,
    ) -> std::result::Result<Vec<Vec<u8>>, (usize, usize, &'static str)> {
        let fields: Vec<_> = columns
            .iter()
            .map(|&column| {
                let typname = self.targets[column].binary_type.as_deref().unwrap_or_default();
                Field::new(&slice.columns[column], typname, slice.rows).unwrap_or(Field::Null)
            })
            .collect();
        let mut pieces = Vec::new();
        let mut piece = Vec::with_capacity(PIECE + PIECE / 8);
        if first {
            piece.extend_from_slice(HEADER);
        }
        for row in 0..slice.rows {
            piece.extend_from_slice(&(columns.len() as i16).to_be_bytes());
            for (&column, field) in columns.iter().zip(&fields) {
                if slice.columns[column].is_null(row) {
                    null(&mut piece);
                } else {
                    field.write(row, &mut piece).map_err(|reason| (row, column, reason))?;
                }
            }
            if piece.len() >= PIECE {
                pieces.push(std::mem::replace(&mut piece, Vec::with_capacity(PIECE + PIECE / 8)));
            }
        }
        if last {
            piece.extend_from_slice(TRAILER);
        }
        pieces.push(piece);
        Ok(pieces)
    }

    fn refuse(
        &self,
        py: Python<'_>,
        slice: &Slice,
        row: usize,
        column: usize,
        reason: &str,
    ) -> Error {
        Error::Row {
            row: slice.first_row + row,
            key: self.plan.get().column(column).key.clone(),
            value: output::to_python(py, slice.columns[column].get(row)).ok().map(Bound::unbind),
            reason: reason.to_owned(),
            cause: None,
        }
    }
}

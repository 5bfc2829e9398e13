//! What Python calls: bytes for COPY, statements for everything else.

use std::ops::Range;

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::encode::{Field, NO_NUL, null};
use super::sql::{self, Place, Target, place};
use super::text::is_mixed;
use crate::error::{BadValue, Error, Result};
use crate::kind::Kind;
use crate::output;
use crate::plan::{Absent, Plan};
use crate::slice::Slice;
use crate::values::SeriesBuilder;

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
    /// `targets` has a [`Target`] per column of the plan, as a tuple.
    #[new]
    fn new(plan: Py<Plan>, targets: Vec<Target>) -> Self {
        Self { plan, targets }
    }

    /// The columns that COPY fills from this slice, or the first one that it can't.
    fn copy_columns(&self, slice: &Slice) -> (Vec<usize>, Option<usize>) {
        match self.columns(slice) {
            Ok(columns) => (columns, None),
            Err(column) => (Vec::new(), Some(column)),
        }
    }

    /// The first mapped column whose values COPY can't take, as far as their kind tells.
    fn not_binary(&self) -> Option<usize> {
        let plan = self.plan.get();
        (0..self.targets.len()).find(|&position| {
            let column = plan.column(position);
            // What says its own shape is a text for every type that is not one of ours.
            let kind = if column.kind == Kind::Dynamic { Kind::Text } else { column.kind };
            let series = SeriesBuilder::new(kind, 0).finish();
            let typname = self.targets[position].binary_type.as_deref();
            let has_field =
                typname.is_some_and(|typname| Field::new(&series, typname, 0).is_some());
            !column.key.is_empty() && !matches!(column.absent, Absent::Omit) && !has_field
        })
    }

    /// The COPY statement for these columns.
    fn copy_sql(&self, columns: Vec<usize>) -> String {
        sql::copy(self.plan.get(), &columns)
    }

    /// Rows `start..end` of the slice as COPY data, without the GIL. The first piece of a COPY
    /// begins with its header, the last one ends it. `keys` stand in a column of their own, which
    /// is the first one in the statement, as (its type in `pg_type`, one key per row as `int8send`
    /// makes it).
    #[pyo3(signature = (slice, columns, start, end, *, first=true, last=true, keys=None))]
    #[allow(clippy::too_many_arguments)]
    fn copy<'py>(
        &self,
        py: Python<'py>,
        slice: &Slice,
        columns: Vec<usize>,
        start: usize,
        end: usize,
        first: bool,
        last: bool,
        keys: Option<(String, &[u8])>,
    ) -> Result<Vec<Bound<'py, PyBytes>>> {
        let keys = keys.map(|(typname, keys)| {
            let (keys, _) = keys.as_chunks::<8>();
            (typname, keys.iter().map(|&key| i64::from_be_bytes(key)).collect::<Vec<_>>())
        });
        let keys = keys.as_ref().map(|(typname, keys)| (typname.as_str(), keys.as_slice()));
        let pieces = py.detach(|| self.encode(slice, &columns, start..end, first, last, keys));
        let pieces =
            pieces.map_err(|(row, column, reason)| self.refuse(py, slice, row, column, reason))?;
        Ok(pieces.iter().map(|piece| PyBytes::new(py, piece)).collect())
    }

    /// The INSERT statement for rows `start..end` of the slice, without the GIL.
    fn insert(&self, py: Python<'_>, slice: &Slice, start: usize, end: usize) -> Result<String> {
        let sql = py.detach(|| {
            // Of an array all elements have one type; in VALUES each value has its own.
            if slice.columns.iter().any(is_mixed) {
                sql::values(self.plan.get(), slice, start..end, None)
            } else {
                sql::insert(self.plan.get(), slice, &self.targets, start..end)
            }
        });
        sql.map_err(|(row, column)| self.refuse(py, slice, row, column, NO_NUL))
    }
}

/// The INSERT..VALUES statement for rows `start..end` of a slice, of one column if `only` names it.
#[pyfunction]
#[pyo3(signature = (plan, slice, start, end, *, only=None))]
pub fn postgres_values(
    py: Python<'_>,
    plan: Py<Plan>,
    slice: &Slice,
    start: usize,
    end: usize,
    only: Option<usize>,
) -> Result<String> {
    let writer = PostgresWriter { plan, targets: Vec::new() };
    sql::values(writer.plan.get(), slice, start..end, only)
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
        rows: Range<usize>,
        first: bool,
        last: bool,
        keys: Option<(&str, &[i64])>,
    ) -> std::result::Result<Vec<Vec<u8>>, (usize, usize, &'static str)> {
        let fields: Vec<_> = columns
            .iter()
            .map(|&column| {
                let typname = self.targets[column].binary_type.as_deref().unwrap_or_default();
                Field::new(&slice.columns[column], typname, slice.rows).unwrap_or(Field::Null)
            })
            .collect();
        let key = match keys {
            Some(("int2", keys)) => Some(Field::Int2(keys)),
            Some(("int4", keys)) => Some(Field::Int4(keys)),
            Some((_, keys)) => Some(Field::Int8(keys)),
            None => None,
        };
        let count = columns.len() + usize::from(key.is_some());
        let start = rows.start;
        let mut pieces = Vec::new();
        let mut piece = Vec::with_capacity(PIECE + PIECE / 8);
        if first {
            piece.extend_from_slice(HEADER);
        }
        for row in rows {
            piece.extend_from_slice(&(count as i16).to_be_bytes());
            if let Some(key) = &key {
                key.write(row - start, &mut piece).map_err(|reason| (row, 0, reason))?;
            }
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
        Error::Row(Box::new(BadValue {
            row: slice.first_row + row,
            key: self.plan.get().column(column).key.clone(),
            value: output::to_python(py, slice.columns[column].get(row)).ok().map(Bound::unbind),
            reason: reason.to_owned(),
            cause: Some(PyOverflowError::new_err(reason.to_owned())),
        }))
    }
}

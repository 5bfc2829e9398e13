//! Returned rows as Arrow's columns, from wherever they come: native outcomes, reserved keys, or
//! Python objects of a driver's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3_arrow::PyTable;
use pyo3_arrow::error::PyArrowResult;

use super::value::push_returned;
use crate::error::Result;
use crate::export;
use crate::kind::Kind;
use crate::output::Outcome;
use crate::values::{Cell, SeriesBuilder};

/// A column of a result that grows.
#[pyclass(frozen, module = "fastbulk._native")]
pub struct ReturnedColumn {
    name: String,
    kind: Kind,
    /// Digits after the point that a decimal has at least.
    scale: i8,
    builder: Mutex<SeriesBuilder>,
}

#[pymethods]
impl ReturnedColumn {
    #[new]
    fn new(name: String, kind: &str, scale: i8) -> Result<Self> {
        let kind = Kind::parse(kind)?;
        Ok(Self { name, kind, scale, builder: Mutex::new(SeriesBuilder::new(kind, 0)) })
    }

    /// The column at that position of an outcome, in the order of the input.
    fn add_outcome(&self, outcome: &Outcome, position: usize) {
        let mut builder = self.lock();
        let Some(series) = outcome.columns.get(position) else { return };
        let mut order: Vec<usize> = (0..outcome.rows).collect();
        if !outcome.positions.is_empty() {
            for (row, &place) in outcome.positions.iter().enumerate() {
                order[place] = row;
            }
        }
        for row in order {
            builder.push(as_kind(self.kind, series.get(row)));
        }
    }

    /// Keys as `int8send` makes them.
    fn add_keys(&self, keys: &[u8]) {
        let mut builder = self.lock();
        let (keys, _) = keys.as_chunks();
        for &key in keys {
            builder.push(Cell::Int(i64::from_be_bytes(key)));
        }
    }

    /// Python objects.
    fn add_values(&self, values: Vec<Bound<'_, PyAny>>) -> PyResult<()> {
        let mut builder = self.lock();
        for value in &values {
            push_returned(value, &mut builder)
                .map_err(|refusal| PyValueError::new_err(refusal.reason))?;
        }
        Ok(())
    }
}

impl ReturnedColumn {
    fn lock(&self) -> MutexGuard<'_, SeriesBuilder> {
        self.builder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The values so far, which are gone from here then.
    fn take(&self) -> SeriesBuilder {
        std::mem::replace(&mut *self.lock(), SeriesBuilder::new(self.kind, 0))
    }
}

/// Databases without a type of booleans, or of whole floats, give integers.
fn as_kind(kind: Kind, cell: Cell<'_>) -> Cell<'_> {
    match (kind, cell) {
        (Kind::Float, Cell::Int(value)) => Cell::Float(value as f64),
        (_, cell) => cell,
    }
}

/// The columns as a table with Arrow's `PyCapsule` interface.
#[pyfunction]
pub fn returned_table(py: Python<'_>, columns: Vec<Py<ReturnedColumn>>) -> PyArrowResult<PyTable> {
    let built: Vec<_> = columns.iter().map(|column| (column.get(), column.get().take())).collect();
    let batch = py.detach(|| {
        let columns = built
            .into_iter()
            .map(|(column, builder)| export::column(&column.name, builder.finish(), column.scale))
            .collect::<std::result::Result<Vec<_>, ArrowError>>()?;
        let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
    })?;
    let schema = batch.schema();
    Ok(PyTable::try_new(vec![batch], schema)?)
}

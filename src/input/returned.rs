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
use crate::iso;
use crate::kind::Kind;
use crate::output::Outcome;
use crate::values::{Cell, SeriesBuilder, Values};

/// A column of a result that grows.
#[pyclass(frozen, module = "fastbulk._native")]
pub struct ReturnedColumn {
    name: String,
    kind: Kind,
    /// Digits after the point that a decimal has at least.
    scale: i8,
    /// Digits after the point that one has where the database has a float.
    digits: usize,
    builder: Mutex<SeriesBuilder>,
}

#[pymethods]
impl ReturnedColumn {
    #[new]
    fn new(name: String, kind: &str, scale: i8, digits: usize) -> Result<Self> {
        let kind = Kind::parse(kind)?;
        Ok(Self { name, kind, scale, digits, builder: Mutex::new(SeriesBuilder::new(kind, 0)) })
    }

    /// The column at that position of an outcome, in the order of the input; false where only
    /// Python code knows what its values mean.
    fn add_outcome(&self, outcome: &Outcome, position: usize) -> bool {
        let Some(series) = outcome.columns.get(position) else { return outcome.rows == 0 };
        if let (Kind::Int, Values::Int(values), None) =
            (self.kind, &series.values, &series.validity)
            && outcome.positions.is_empty()
        {
            self.lock().push_ints(values.iter().copied());
            return true;
        }
        let mut text = String::new();
        if (0..outcome.rows).any(|row| self.cell(series.get(row), &mut text).is_none()) {
            return false;
        }
        let mut builder = self.lock();
        let mut order: Vec<usize> = (0..outcome.rows).collect();
        if !outcome.positions.is_empty() {
            for (row, &place) in outcome.positions.iter().enumerate() {
                order[place] = row;
            }
        }
        for row in order {
            builder.push(self.cell(series.get(row), &mut text).unwrap_or(Cell::Null));
        }
        true
    }

    /// Keys as `int8send` makes them.
    fn add_keys(&self, keys: &[u8]) {
        let (keys, _) = keys.as_chunks();
        self.lock().push_ints(keys.iter().map(|&key| i64::from_be_bytes(key)));
    }

    /// So many keys, each `step` after the one before.
    fn add_run(&self, first: i64, step: i64, count: usize) {
        let keys = std::iter::successors(Some(first), |key| key.checked_add(step));
        self.lock().push_ints(keys.take(count));
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
    /// The database's value as one of the column's; `text` holds what is written of it.
    fn cell<'a>(&self, cell: Cell<'a>, text: &'a mut String) -> Option<Cell<'a>> {
        let float = match (self.kind, cell) {
            (Kind::Decimal, Cell::Float(value)) if value.is_finite() => value,
            (Kind::Decimal, Cell::Int(value)) if value.unsigned_abs() <= EXACT => value as f64,
            _ => return as_kind(self.kind, cell),
        };
        *text = format!("{float:.*}", self.digits);
        Some(Cell::Decimal(text))
    }

    fn lock(&self) -> MutexGuard<'_, SeriesBuilder> {
        self.builder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The values so far, which are gone from here then.
    fn take(&self) -> SeriesBuilder {
        std::mem::replace(&mut *self.lock(), SeriesBuilder::new(self.kind, 0))
    }
}

/// Up to here a float has every integer.
const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;

/// What the database's value is as one of the column's kind: databases without a type of booleans,
/// or of whole floats, give integers, and texts stand for what has no other form there.
fn as_kind(kind: Kind, cell: Cell<'_>) -> Option<Cell<'_>> {
    match (kind, cell) {
        (_, Cell::Null) | (Kind::Json, Cell::Text("null") | Cell::Json("null")) => Some(Cell::Null),
        (Kind::Bool, Cell::Int(0 | 1)) | (Kind::Int, Cell::Bool(_)) | (Kind::Dynamic, _) => {
            Some(cell)
        }
        (Kind::Float, Cell::Int(value)) => Some(Cell::Float(value as f64)),
        (Kind::Float, Cell::Decimal(text)) => text.parse().ok().map(Cell::Float),
        (Kind::Date, Cell::Text(text)) => iso::date(text).map(Cell::Date),
        (Kind::Time, Cell::Text(text)) => iso::time(text).map(Cell::Time),
        (Kind::Timestamp, Cell::Text(text)) => iso::timestamp(text).map(Cell::Timestamp),
        (Kind::Instant, Cell::Text(text)) => iso::instant(text).map(Cell::Instant),
        (Kind::Uuid, Cell::Text(text)) => uuid(text).map(Cell::Uuid),
        (Kind::Json, Cell::Text(text)) => Some(Cell::Json(text)),
        (kind, cell) => (cell.kind() == kind).then_some(cell),
    }
}

/// 32 digits, with or without the four hyphens.
fn uuid(text: &str) -> Option<u128> {
    let hex = text.replace('-', "");
    let is_plain = hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_plain { u128::from_str_radix(&hex, 16).ok() } else { None }
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

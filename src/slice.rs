//! A slice: the columns of some rows, ready for a backend.

use pyo3::prelude::*;

use crate::output;
use crate::values::Series;

/// A slice ends at this many rows, or at [`MAX_BYTES`], whichever is first.
pub const MAX_ROWS: usize = 20_000;
pub const MAX_BYTES: usize = 8 << 20;

#[pyclass(frozen, module = "fastbulk._native")]
#[derive(Debug)]
pub struct Slice {
    /// The index, in the whole input, of the first row here.
    #[pyo3(get)]
    pub first_row: usize,
    #[pyo3(get)]
    pub nbytes: usize,
    pub rows: usize,
    /// One per column of the plan, in its order.
    pub columns: Vec<Series>,
}

#[pymethods]
impl Slice {
    fn __len__(&self) -> usize {
        self.rows
    }

    /// The first row that gives nothing for that column.
    fn first_without(&self, column: usize) -> Option<usize> {
        let series = &self.columns[column];
        (0..self.rows).find(|&row| !series.is_given(row))
    }

    /// The first row that gives nothing for that column, or NULL.
    fn first_null(&self, column: usize) -> Option<usize> {
        let series = &self.columns[column];
        (0..self.rows).find(|&row| series.is_null(row))
    }

    /// Whether some row gives something for that column.
    fn gives(&self, column: usize) -> bool {
        let given = &self.columns[column].given;
        given.as_ref().is_none_or(|given| given.null_count() < given.len())
    }

    /// The value at that row of the slice and column of the plan, as a Python object.
    fn value(&self, py: Python<'_>, row: usize, column: usize) -> PyResult<Py<PyAny>> {
        output::to_python(py, self.columns[column].get(row)).map(Bound::unbind)
    }
}

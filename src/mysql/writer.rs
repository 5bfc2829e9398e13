//! What Python calls.

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::sql::{Insert, Refusal, Size};
use super::text::Style;
use crate::error::{BadValue, Error, Result};
use crate::output;
use crate::plan::Plan;
use crate::slice::Slice;

/// Writes the statements of a plan.
#[pyclass(frozen, module = "fastbulk._native")]
pub struct MysqlWriter {
    plan: Py<Plan>,
    generated: Option<usize>,
    returning: bool,
    avoid: Option<String>,
    plain_floats: bool,
}

#[pymethods]
impl MysqlWriter {
    /// `generated` is the name of the auto-increment column, `returning` whether the server
    /// has INSERT..RETURNING, `avoid` a word in lower case that no text may show; floats are
    /// doubles to the server, or decimals where they are plain.
    #[new]
    #[pyo3(signature = (plan, *, generated, returning, avoid=None, plain_floats=false))]
    fn new(
        plan: Py<Plan>,
        generated: Option<&str>,
        returning: bool,
        avoid: Option<String>,
        plain_floats: bool,
    ) -> Self {
        let generated = generated.and_then(|name| {
            plan.get().columns.iter().position(|column| column.get().name == name)
        });
        Self { plan, generated, returning, avoid, plain_floats }
    }

    /// The INSERT of rows `start..end` of the slice, or of as many of them as make `wanted` bytes
    /// and at most `limit`, without the GIL; and the row after them.
    #[pyo3(signature = (slice, start, end, *, wanted, limit))]
    fn insert<'py>(
        &self,
        py: Python<'py>,
        slice: &Slice,
        start: usize,
        end: usize,
        wanted: usize,
        limit: usize,
    ) -> Result<(Bound<'py, PyBytes>, usize)> {
        let written =
            py.detach(|| self.statements(slice).statement(start..end, Size { wanted, limit }));
        match written {
            Ok((sql, next)) => Ok((PyBytes::new(py, &sql), next)),
            Err(refusal) => Err(refuse(py, self.plan.get(), slice, refusal, limit)),
        }
    }

    /// Rows of a VALUES clause: the number of each from 0 on, and its values of these columns.
    fn keys<'py>(
        &self,
        py: Python<'py>,
        slice: &Slice,
        start: usize,
        end: usize,
        columns: Vec<usize>,
    ) -> Result<Bound<'py, PyBytes>> {
        match py.detach(|| self.statements(slice).keys(start..end, &columns)) {
            Ok(sql) => Ok(PyBytes::new(py, &sql)),
            Err(refusal) => Err(refuse(py, self.plan.get(), slice, refusal, 0)),
        }
    }

    /// The first row from `start` on that differs from it in whether it gives that column, and
    /// whether it does.
    #[staticmethod]
    fn run(slice: &Slice, column: usize, start: usize) -> (usize, bool) {
        let series = &slice.columns[column];
        let given = series.is_given(start);
        let end = (start..slice.rows).find(|&row| series.is_given(row) != given);
        (end.unwrap_or(slice.rows), given)
    }
}

impl MysqlWriter {
    pub fn plan(&self) -> &Plan {
        self.plan.get()
    }

    fn statements<'a>(&'a self, slice: &'a Slice) -> Insert<'a> {
        let avoid = self.avoid.as_deref().map(str::as_bytes);
        let style = Style { avoid, plain_floats: self.plain_floats };
        Insert::new(self.plan.get(), slice, self.generated, self.returning, style)
    }
}

/// The error of a row of which no statement can be made.
pub fn refuse(py: Python<'_>, plan: &Plan, slice: &Slice, refusal: Refusal, limit: usize) -> Error {
    let (row, column, reason, cause) = match refusal {
        Refusal::Value { row, column, reason } => {
            (row, column, reason.to_owned(), PyValueError::new_err(reason))
        }
        Refusal::Row { row, column, bytes } => {
            let reason = format!(
                "the row is a statement of {bytes} bytes, and the server's \
                 max_allowed_packet lets {limit} through"
            );
            (row, column, reason.clone(), PyOverflowError::new_err(reason))
        }
    };
    Error::Row(Box::new(BadValue {
        row: slice.first_row + row,
        key: plan.column(column).key.clone(),
        value: output::to_python(py, slice.columns[column].get(row)).ok().map(Bound::unbind),
        reason,
        cause: Some(cause),
    }))
}

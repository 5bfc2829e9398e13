//! What came back from the database, and its way to Python objects.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDate, PyDateTime, PyFloat, PyInt, PyString, PyTime, PyTuple};

use crate::calendar::{FIRST_DAY, LAST_DAY, MICROS_PER_DAY, civil, clock};
use crate::error::Result;
use crate::values::{Cell, Series, Values};

/// The rows that a statement returned, by column, and how many rows it changed.
#[pyclass(frozen, module = "fastbulk._native")]
#[derive(Debug, Default)]
pub struct Outcome {
    #[pyo3(get)]
    pub rowcount: u64,
    pub rows: usize,
    pub columns: Vec<Series>,
    /// Where each of the rows belongs, if they are not in the order of the input.
    pub positions: Vec<usize>,
    /// Rows of the slice whose key found no row.
    #[pyo3(get)]
    pub missing: Vec<usize>,
    /// Rows of the slice whose key found a row that is not as the condition has it.
    #[pyo3(get)]
    pub unmatched: Vec<usize>,
    /// Rows of the slice that ask for nothing.
    #[pyo3(get)]
    pub idle: Vec<usize>,
    /// What became of each row of an upsert.
    pub actions: Vec<Action>,
}

/// What an upsert did with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Inserted,
    Updated,
    /// The row that is there was left alone.
    Unchanged,
    /// Another row of the input has the same key, and is the one that counts.
    Duplicate,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Inserted => "inserted",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Duplicate => "duplicate",
        }
    }
}

#[pymethods]
impl Outcome {
    fn __len__(&self) -> usize {
        self.rows
    }

    /// What result processors may want to know of the columns: nothing here.
    #[getter]
    #[allow(clippy::unused_self)] // a getter has one
    fn type_codes(&self) -> Option<()> {
        None
    }

    /// What became of each row: `inserted`, `updated`, `unchanged` or `duplicate`.
    #[getter]
    fn actions<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyString>> {
        self.actions.iter().map(|action| PyString::intern(py, action.name())).collect()
    }

    /// The values of the first column, through the processor if there is one.
    #[pyo3(signature = (processor))]
    fn scalars<'py>(
        &self,
        py: Python<'py>,
        processor: Option<Bound<'py, PyAny>>,
    ) -> Result<Vec<Bound<'py, PyAny>>> {
        match self.columns.first() {
            Some(column) => self.column_to_python(py, column, processor.as_ref()),
            None => Ok(Vec::new()),
        }
    }

    /// The rows as tuples; `processors` has one callable or None per column.
    #[pyo3(signature = (processors))]
    fn rows<'py>(
        &self,
        py: Python<'py>,
        processors: Vec<Option<Bound<'py, PyAny>>>,
    ) -> Result<Vec<Bound<'py, PyTuple>>> {
        let columns = self
            .columns
            .iter()
            .zip(&processors)
            .map(|(series, processor)| self.column_to_python(py, series, processor.as_ref()))
            .collect::<Result<Vec<_>>>()?;
        let mut iterators: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        (0..self.rows)
            .map(|_| {
                Ok(PyTuple::new(
                    py,
                    iterators.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>(),
                )?)
            })
            .collect()
    }
}

impl Outcome {
    /// Notes what became of a row of an upsert.
    pub fn done(&mut self, row: usize, action: Action) {
        self.actions[row] = action;
        self.rowcount += u64::from(action != Action::Unchanged);
    }

    /// A column's values in the order of the input.
    fn column_to_python<'py>(
        &self,
        py: Python<'py>,
        series: &Series,
        processor: Option<&Bound<'py, PyAny>>,
    ) -> Result<Vec<Bound<'py, PyAny>>> {
        let values = column_to_python(py, series, self.rows, processor)?;
        if self.positions.is_empty() {
            return Ok(values);
        }
        let mut placed = vec![None; values.len()];
        for (value, &position) in values.into_iter().zip(&self.positions) {
            placed[position] = Some(value);
        }
        Ok(placed.into_iter().flatten().collect())
    }
}

fn column_to_python<'py>(
    py: Python<'py>,
    series: &Series,
    rows: usize,
    processor: Option<&Bound<'py, PyAny>>,
) -> Result<Vec<Bound<'py, PyAny>>> {
    if let (Values::Int(values), None, None) = (&series.values, &series.validity, processor) {
        return Ok(values.iter().map(|&value| PyInt::new(py, value).into_any()).collect());
    }
    (0..rows)
        .map(|position| {
            let value = to_python(py, series.get(position))?;
            Ok(match processor {
                Some(processor) => processor.call1((value,))?,
                None => value,
            })
        })
        .collect()
}

pub fn to_python<'py>(py: Python<'py>, cell: Cell<'_>) -> PyResult<Bound<'py, PyAny>> {
    Ok(match cell {
        Cell::Null => py.None().into_bound(py),
        Cell::Bool(value) => PyBool::new(py, value).to_owned().into_any(),
        Cell::Int(value) => PyInt::new(py, value).into_any(),
        Cell::Float(value) => PyFloat::new(py, value).into_any(),
        Cell::Text(value) | Cell::Json(value) => PyString::new(py, value).into_any(),
        Cell::Decimal(value) => py.import("decimal")?.getattr("Decimal")?.call1((value,))?,
        Cell::Bytes(value) => PyBytes::new(py, value).into_any(),
        Cell::Date(days) => {
            let (year, month, day) = civil(days.clamp(FIRST_DAY, LAST_DAY));
            PyDate::new(py, year, month, day)?.into_any()
        }
        Cell::Time(micros) => {
            let (hour, minute, second, micro) = clock(micros);
            PyTime::new(py, hour, minute, second, micro, None)?.into_any()
        }
        Cell::Timestamp(micros) | Cell::Instant(micros) => {
            let days = micros.div_euclid(MICROS_PER_DAY).clamp(FIRST_DAY.into(), LAST_DAY.into());
            let (year, month, day) = civil(days as i32);
            let (hour, minute, second, micro) = clock(micros.rem_euclid(MICROS_PER_DAY));
            PyDateTime::new(py, year, month, day, hour, minute, second, micro, None)?.into_any()
        }
        Cell::Uuid(value) => {
            let class = py.import("uuid")?.getattr("UUID")?;
            class.call((py.None(), py.None(), py.None(), py.None(), value), None)?
        }
    })
}

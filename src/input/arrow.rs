//! Rows that are columns already, by Arrow's C data interface: read batch by batch, as they lie.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::ByteViewType;
use arrow_array::{Array, ArrayRef, GenericByteViewArray, RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, DataType, FieldRef};
use arrow_select::concat::concat;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use pyo3_arrow::input::AnyRecordBatch;

use super::numpy::NamedColumn;
use super::objects::objects;
use super::value::Refusal;
use crate::error::{Error, Result};

/// The values of one column in a batch.
#[derive(Clone)]
pub enum Lane {
    Arrow(ArrayRef),
    /// Python objects, from the position on.
    Objects(Arc<Py<PyList>>, usize),
}

impl Lane {
    fn slice(&self, start: usize, rows: usize) -> Self {
        match self {
            Self::Arrow(array) => Self::Arrow(array.slice(start, rows)),
            Self::Objects(list, first) => Self::Objects(list.clone(), first + start),
        }
    }

    /// The values as Python objects, or the row that has none and why.
    pub fn objects<'py>(
        &self,
        py: Python<'py>,
        field: &FieldRef,
        rows: usize,
    ) -> Result<Vec<Bound<'py, PyAny>>, (usize, PyErr)> {
        match self {
            Self::Arrow(array) => objects(py, field, array),
            Self::Objects(list, first) => {
                let value = |row| list.bind(py).get_item(first + row).map_err(|why| (row, why));
                (0..rows).map(value).collect()
            }
        }
    }

    /// How many bytes the values take, near enough.
    fn nbytes(&self, rows: usize) -> usize {
        match self {
            Self::Arrow(array) => nbytes(array),
            Self::Objects(..) => rows * size_of::<Py<PyAny>>(),
        }
    }
}

/// Without the buffers' other parts, which a slice still holds.
fn nbytes(array: &ArrayRef) -> usize {
    match array.data_type() {
        DataType::Utf8View => bytes_of_views(array.as_string_view()),
        DataType::BinaryView => bytes_of_views(array.as_binary_view()),
        _ => array.to_data().get_slice_memory_size().unwrap_or_default(),
    }
}

fn bytes_of_views<T: ByteViewType + ?Sized>(array: &GenericByteViewArray<T>) -> usize {
    // The low half of a view is the length of its value.
    array.views().iter().map(|&view| size_of::<u128>() + (view as u32) as usize).sum()
}

/// Some rows, by column.
#[derive(Clone)]
pub struct Batch {
    /// The index, in the whole input, of the first row here.
    pub first_row: usize,
    pub rows: usize,
    pub lanes: Vec<Lane>,
}

impl Batch {
    fn slice(&self, start: usize, rows: usize) -> Self {
        let lanes = self.lanes.iter().map(|lane| lane.slice(start, rows)).collect();
        Self { first_row: self.first_row + start, rows, lanes }
    }

    pub fn nbytes(&self) -> usize {
        self.lanes.iter().map(|lane| lane.nbytes(self.rows)).sum()
    }

    /// The rows of all of them, in their order.
    fn joined(mut batches: Vec<Self>) -> Result<Self> {
        if batches.len() == 1 {
            return Ok(batches.remove(0));
        }
        let rows = batches.iter().map(|batch| batch.rows).sum();
        let column = |position: usize| {
            let mut arrays: Vec<&dyn Array> = Vec::new();
            for batch in &batches {
                match &batch.lanes[position] {
                    Lane::Arrow(array) => arrays.push(&**array),
                    // The next ones are cut from the same list.
                    lane @ Lane::Objects(..) => return Ok(lane.clone()),
                }
            }
            Ok(Lane::Arrow(concat(&arrays).map_err(unreadable)?))
        };
        let lanes = (0..batches[0].lanes.len()).map(column).collect::<Result<_>>()?;
        Ok(Self { first_row: batches[0].first_row, rows, lanes })
    }
}

/// What the producer says, or raises.
fn unreadable(error: ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(error) if error.is::<PyErr>() => error
            .downcast::<PyErr>()
            .map_or_else(|error| Error::Internal(error.to_string()), |error| Error::Python(*error)),
        error => Error::Python(PyRuntimeError::new_err(error.to_string())),
    }
}

/// Batches of one shape, one after the other.
pub struct Batches {
    pub fields: Vec<FieldRef>,
    /// What was read and not given out: it comes first, beginning with the last of these.
    rest: Vec<Batch>,
    /// None after the last batch.
    reader: Option<Box<dyn RecordBatchReader + Send>>,
    /// Rows that were read.
    read: usize,
}

impl Batches {
    fn of_arrow(rows: &Bound<'_, PyAny>) -> PyResult<Self> {
        let reader = rows.extract::<AnyRecordBatch>()?.into_reader()?;
        let fields = reader.schema().fields().iter().cloned().collect();
        Ok(Self { fields, rest: Vec::new(), reader: Some(reader), read: 0 })
    }

    /// The next rows: at most `max_rows`, and of about `max_bytes`. None after the last one.
    pub fn next(
        &mut self,
        py: Python<'_>,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Option<Batch>> {
        let (mut found, mut rows) = (Vec::new(), 0);
        while rows < max_rows
            && let Some(batch) = self.next_batch(py)?
        {
            let taken = batch.rows.min(max_rows - rows);
            if taken < batch.rows {
                self.rest.push(batch.slice(taken, batch.rows - taken));
            }
            rows += taken;
            found.push(batch.slice(0, taken));
        }
        if rows == 0 {
            return Ok(None);
        }
        let batch = Batch::joined(found)?;
        Ok(Some(self.within(batch, max_bytes)))
    }

    /// As many of the first rows as stay within the bytes, and at least one.
    fn within(&mut self, mut batch: Batch, max_bytes: usize) -> Batch {
        let mut nbytes = batch.nbytes();
        while nbytes > max_bytes && batch.rows > 1 {
            let fit = (batch.rows as u128 * max_bytes as u128 / nbytes as u128) as usize;
            let rows = fit.clamp(1, batch.rows - 1);
            self.rest.push(batch.slice(rows, batch.rows - rows));
            batch = batch.slice(0, rows);
            nbytes = batch.nbytes();
        }
        batch
    }

    fn next_batch(&mut self, py: Python<'_>) -> Result<Option<Batch>> {
        if let Some(batch) = self.rest.pop() {
            return Ok(Some(batch));
        }
        while let Some(reader) = &mut self.reader {
            // A producer that is Python code takes the GIL for itself.
            match py.detach(|| reader.next()) {
                None => self.reader = None,
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                Some(Ok(batch)) => return Ok(Some(self.numbered(&batch))),
                Some(Err(error)) => return Err(unreadable(error)),
            }
        }
        Ok(None)
    }

    fn numbered(&mut self, batch: &RecordBatch) -> Batch {
        let lanes = batch.columns().iter().map(|array| Lane::Arrow(array.clone())).collect();
        let batch = Batch { first_row: self.read, rows: batch.num_rows(), lanes };
        self.read += batch.rows;
        batch
    }

    /// These rows come next.
    pub fn put_back(&mut self, batch: Batch) {
        self.rest.push(batch);
    }

    /// Whether it is known that no more rows come.
    pub fn ended(&self) -> bool {
        self.rest.is_empty() && self.reader.is_none()
    }
}

/// The rows of a call, by column. A reader's can be read once.
#[pyclass(frozen, module = "fastbulk._native")]
pub struct Columns {
    batches: Mutex<Option<Batches>>,
    /// How many rows there are, where that is known before they are read.
    pub length: Option<usize>,
}

#[pymethods]
impl Columns {
    /// Any object with Arrow's `PyCapsule` interface. `length` is None for what makes its rows while
    /// they are read.
    #[new]
    fn new(rows: &Bound<'_, PyAny>, length: Option<usize>) -> PyResult<Self> {
        let batches = Mutex::new(Some(Batches::of_arrow(rows)?));
        Ok(Self { batches, length })
    }

    /// One array per column.
    #[staticmethod]
    fn of_arrays(columns: Vec<NamedColumn<'_>>) -> PyResult<Self> {
        let (mut fields, mut lanes, mut rows) = (Vec::new(), Vec::new(), 0);
        for column in &columns {
            let (field, lane, values) = column.lane()?;
            fields.push(field);
            lanes.push(lane);
            rows = values;
        }
        let rest = if rows == 0 { vec![] } else { vec![Batch { first_row: 0, rows, lanes }] };
        let batches = Batches { fields, rest, reader: None, read: rows };
        Ok(Self { batches: Mutex::new(Some(batches)), length: Some(rows) })
    }

    /// The same rows, all read, so that they can be read again.
    fn held(&self, py: Python<'_>) -> Result<Self> {
        let mut batches = self.take()?;
        let mut all: Vec<Batch> = Vec::new();
        while let Some(batch) = batches.next_batch(py)? {
            all.push(batch);
        }
        let length = Some(batches.read);
        all.reverse();
        batches.rest = all;
        Ok(Self { batches: Mutex::new(Some(batches)), length })
    }

    fn __len__(&self) -> PyResult<usize> {
        self.length.ok_or_else(|| PyTypeError::new_err("a reader has no length"))
    }

    fn __iter__(&self) -> Result<DictIterator> {
        Ok(DictIterator(Mutex::new(Dicts { batches: self.take()?, some: None })))
    }
}

impl Columns {
    /// The batches; those of a reader are this caller's from now on.
    pub fn take(&self) -> Result<Batches> {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Batches { fields, rest, reader: None, read }) = batches.as_ref() {
            let (fields, rest) = (fields.clone(), rest.clone());
            return Ok(Batches { fields, rest, reader: None, read: *read });
        }
        batches.take().ok_or_else(already_read)
    }
}

/// Rows as dicts at a time.
const DICTS: usize = 10_000;

/// The rows one by one, as dicts.
#[pyclass(frozen, module = "fastbulk._native")]
struct DictIterator(Mutex<Dicts>);

struct Dicts {
    batches: Batches,
    /// Some dicts, and the position of the next one.
    some: Option<(Py<PyList>, usize)>,
}

#[pymethods]
impl DictIterator {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> Result<Option<Bound<'py, PyAny>>> {
        let mut state = self.0.try_lock().map_err(|_| already_read())?;
        let Dicts { batches, some } = &mut *state;
        if some.as_ref().is_none_or(|(rows, next)| *next == rows.bind(py).len()) {
            let Some(batch) = batches.next(py, DICTS, usize::MAX)? else { return Ok(None) };
            let column = |(field, lane): (&FieldRef, &Lane)| {
                lane.objects(py, field, batch.rows).map_err(|(row, error)| {
                    Refusal::raised(py, error).at(py, batch.first_row + row, field.name(), None)
                })
            };
            let fields = &batches.fields;
            let columns =
                fields.iter().zip(&batch.lanes).map(column).collect::<Result<Vec<_>>>()?;
            *some = Some((dicts(py, fields, &columns, batch.rows)?.unbind(), 0));
        }
        let Some((rows, next)) = some else { return Ok(None) };
        *next += 1;
        Ok(Some(rows.bind(py).get_item(*next - 1)?))
    }
}

fn already_read() -> Error {
    Error::Python(PyRuntimeError::new_err("the rows of this call are already being read"))
}

/// The rows as dicts, of whole columns.
pub fn dicts<'py>(
    py: Python<'py>,
    fields: &[FieldRef],
    columns: &[Vec<Bound<'py, PyAny>>],
    rows: usize,
) -> Result<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for row in 0..rows {
        let dict = PyDict::new(py);
        for (field, values) in fields.iter().zip(columns) {
            dict.set_item(field.name(), &values[row])?;
        }
        list.append(dict)?;
    }
    Ok(list)
}

//! The rows of a call, cut into slices.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::arrow::Columns;
use super::columns::ColumnReader;
use super::rows::{BLOCK, Block, RowReader};
use super::value::{Code, Stop, push_column, sent};
use crate::error::{Error, Result};
use crate::gate::Breath;
use crate::plan::Plan;
use crate::slice::{MAX_BYTES, MAX_ROWS, Slice};
use crate::values::{Series, SeriesBuilder, Values};

/// The first block of a call is small, because nothing is known of the size of its rows.
const FIRST_BLOCK: usize = 16;

/// The first slice of a long pure source, and each next one a quarter longer up to the bound: the
/// database waits for the first one, and works on each for longer than the next one is read.
const FIRST_ROWS: usize = 1_000;

/// Positions of the given columns, and consecutive rows that give just these.
type TupleRun<'py> = (Vec<usize>, Vec<Bound<'py, PyTuple>>);

/// Cuts the input of one call into slices.
///
/// Rows are read on the caller's thread, but for a pure source, of which the next slice is read
/// while the database works on the last one: no code but ours and Python's own runs then.
#[pyclass(frozen, module = "fastbulk._native")]
pub struct Source {
    plan: Py<Plan>,
    state: Mutex<State>,
    max_rows: usize,
    max_bytes: usize,
    /// Called now and then while rows are read on the caller's thread: an event loop is to run.
    pause: Option<Py<PyAny>>,
    /// No Python code of the user's runs while the rows are read.
    #[pyo3(get)]
    pure: bool,
}

/// What the rows of a call are made of.
enum Input {
    Rows(RowReader),
    Columns(ColumnReader),
}

struct State {
    input: Input,
    /// Rows in the slices that were given out.
    rows: usize,
    /// The bound of the next slice, up to the one of all.
    next_rows: usize,
    exhausted: bool,
    /// What was read beside the caller's thread, and is to come next.
    ahead: Option<Result<Option<Slice>>>,
    /// A row needs code that runs on the caller's thread alone.
    foreign: bool,
    /// Time spent reading rows, and how much of that was beside the caller's thread.
    seconds: Duration,
    overlapped: Duration,
}

#[pymethods]
impl Source {
    #[new]
    #[pyo3(signature = (plan, rows, *, adapt, context, first_rows=FIRST_ROWS, max_rows=MAX_ROWS,
                        max_bytes=MAX_BYTES, pause=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        plan: Bound<'_, Plan>,
        rows: &Bound<'_, PyAny>,
        adapt: Py<PyAny>,
        context: Py<PyAny>,
        first_rows: usize,
        max_rows: usize,
        max_bytes: usize,
        pause: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let (input, held) = if let Ok(columns) = rows.cast_exact::<Columns>() {
            let reader = ColumnReader::new(rows.py(), plan.get(), columns.get(), adapt, context)?;
            let held = reader.is_held();
            (Input::Columns(reader), held)
        } else {
            let reader = RowReader::new(rows, adapt, context)?;
            let held = reader.is_list();
            (Input::Rows(reader), held)
        };
        let pure = held && !plan.get().calls_python();
        let long = left(&input, rows.py()).is_some_and(|left| left > max_rows);
        let state = State {
            input,
            rows: 0,
            next_rows: if pure && long { first_rows.min(max_rows) } else { max_rows },
            exhausted: false,
            ahead: None,
            foreign: false,
            seconds: Duration::ZERO,
            overlapped: Duration::ZERO,
        };
        Ok(Self { plan: plan.unbind(), state: Mutex::new(state), max_rows, max_bytes, pause, pure })
    }

    /// The next slice, or None after the last row.
    fn next_slice(&self, py: Python<'_>) -> Result<Option<Slice>> {
        let mut state = self.lock()?;
        let slice = match state.ahead.take() {
            Some(slice) => slice,
            None if state.exhausted => Ok(None),
            None => {
                let start = Instant::now();
                let slice = self.read_slice(py, &mut state, Code::Any);
                state.seconds += start.elapsed();
                state.exhausted |= slice.is_err();
                slice
            }
        };
        if let Ok(Some(slice)) = &slice {
            state.rows = slice.first_row + slice.rows;
        }
        slice
    }

    /// The next rows as tuples of driver values: runs of (positions of the given columns, rows),
    /// in order; empty after the last row. The plan's columns are of kind `object`.
    fn next_tuples<'py>(&self, py: Python<'py>) -> Result<Vec<TupleRun<'py>>> {
        match self.next_slice(py)? {
            Some(slice) => tuples(py, &slice),
            None => Ok(Vec::new()),
        }
    }

    /// Whether the input has ended; known only when a slice came out shorter than it could be.
    #[getter]
    fn exhausted(&self) -> Result<bool> {
        let state = self.lock()?;
        Ok(state.exhausted && !matches!(state.ahead, Some(Ok(Some(_)) | Err(_))))
    }

    /// Rows in the slices so far.
    #[getter]
    fn rows(&self) -> Result<usize> {
        Ok(self.lock()?.rows)
    }

    /// How many rows are left; None where that is not known.
    #[getter]
    fn left(&self, py: Python<'_>) -> Result<Option<usize>> {
        Ok(left(&self.lock()?.input, py))
    }

    /// The columns of the input whose values are made Python objects on their way.
    #[getter]
    fn as_objects(&self) -> Result<Vec<String>> {
        Ok(match &self.lock()?.input {
            Input::Rows(_) => Vec::new(),
            Input::Columns(reader) => reader.as_objects(),
        })
    }

    /// Seconds spent reading rows, which is time with the GIL held.
    #[getter]
    fn seconds(&self) -> Result<f64> {
        Ok(self.lock()?.seconds.as_secs_f64())
    }

    /// How many of these seconds passed while the database worked.
    #[getter]
    fn overlapped(&self) -> Result<f64> {
        Ok(self.lock()?.overlapped.as_secs_f64())
    }
}

impl Source {
    /// The state, unless a row's own code came back here while it was being read.
    fn lock(&self) -> Result<std::sync::MutexGuard<'_, State>> {
        self.state.try_lock().map_err(|_| {
            Error::Python(PyRuntimeError::new_err("the rows of this call are already being read"))
        })
    }
}

impl Source {
    /// Reads the next slice now if that runs no code of a user's. To be called while the caller's
    /// thread waits for the database.
    pub fn read_ahead(&self, py: Python<'_>) {
        let Ok(mut state) = self.lock() else { return };
        if !self.pure || state.foreign || state.exhausted || state.ahead.is_some() {
            return;
        }
        let start = Instant::now();
        match self.read_slice(py, &mut state, Code::BuiltIn) {
            Err(Error::Foreign) => (state.foreign, state.exhausted) = (true, false),
            slice => {
                state.exhausted |= slice.is_err();
                state.ahead = Some(slice);
            }
        }
        state.seconds += start.elapsed();
        state.overlapped += start.elapsed();
    }

    fn read_slice(&self, py: Python<'_>, state: &mut State, code: Code) -> Result<Option<Slice>> {
        let (plan, max_rows, max_bytes) = (self.plan.get(), state.next_rows, self.max_bytes);
        state.next_rows = self.max_rows.min(max_rows.saturating_add(max_rows / 4));
        // Beside the caller's thread there is no event loop.
        let pause = self.pause.as_ref().filter(|_| code == Code::Any);
        let mut breath = Breath::new(pause);
        match &mut state.input {
            Input::Rows(reader) => {
                let row = reader.next_row;
                match read_rows(py, plan, reader, max_rows, max_bytes, code, &mut breath) {
                    Ok((slice, exhausted)) => {
                        state.exhausted = exhausted;
                        Ok(slice)
                    }
                    Err(error) => {
                        if matches!(error, Error::Foreign) {
                            reader.rewind(row);
                        }
                        Err(error)
                    }
                }
            }
            Input::Columns(reader) => {
                let slice = reader.read(py, plan, max_rows, max_bytes, code, &mut breath)?;
                state.exhausted = slice.is_none() || reader.ended();
                Ok(slice)
            }
        }
    }
}

/// How many rows are left; None where that is not known.
fn left(input: &Input, py: Python<'_>) -> Option<usize> {
    match input {
        Input::Rows(reader) => reader.left(py),
        Input::Columns(reader) => reader.left(),
    }
}

/// The next rows as a slice, None where there are none, and whether they are the last ones.
pub fn read_rows(
    py: Python<'_>,
    plan: &Plan,
    reader: &mut RowReader,
    max_rows: usize,
    max_bytes: usize,
    code: Code,
    breath: &mut Breath<'_>,
) -> Result<(Option<Slice>, bool)> {
    let first_row = reader.next_row;
    let mut builders: Vec<_> = plan
        .columns
        .iter()
        .map(|column| SeriesBuilder::new(column.get().kind, max_rows.min(FIRST_BLOCK)))
        .collect();
    let mut block = Block::new(plan.columns.len(), FIRST_BLOCK);
    let (mut rows, mut nbytes, mut exhausted) = (0, 0, false);
    while rows < max_rows && nbytes < max_bytes && !exhausted {
        let want = (max_rows - rows).min(block_size(rows, nbytes, max_bytes));
        block.renew(plan.columns.len(), want);
        let read = reader.read(py, plan, want, &mut block, code);
        exhausted = block.rows < want;
        convert(py, plan, &block, first_row + rows, &mut builders, code)?;
        read?;
        breath.take(py)?;
        rows += block.rows;
        nbytes = builders.iter().map(SeriesBuilder::nbytes).sum();
    }
    if rows == 0 {
        return Ok((None, exhausted));
    }
    let columns = builders.into_iter().map(SeriesBuilder::finish).collect();
    Ok((Some(Slice { first_row, nbytes, rows, columns }), exhausted))
}

/// How many rows to read next, so that a slice of wide rows does not grow far over its bound.
fn block_size(rows: usize, nbytes: usize, max_bytes: usize) -> usize {
    if rows == 0 {
        return FIRST_BLOCK;
    }
    let row = (nbytes / rows).max(1);
    ((max_bytes - nbytes.min(max_bytes)) / row).clamp(1, BLOCK)
}

/// Turns the block's cells into values. Of several bad rows the first is reported.
fn convert(
    py: Python<'_>,
    plan: &Plan,
    block: &Block<'_>,
    first_row: usize,
    builders: &mut [SeriesBuilder],
    code: Code,
) -> Result<()> {
    let mut rows = block.rows;
    let mut first_error = None;
    for (position, (column, builder)) in plan.columns.iter().zip(builders).enumerate() {
        let column = column.get();
        let cells = &block.column(position)[..rows];
        match push_column(py, plan, column, cells, builder, code) {
            Ok(()) => {}
            Err(Stop::Foreign) => return Err(Error::Foreign),
            Err(Stop::At(bad, refusal)) => {
                rows = bad;
                let value = sent(py, column, cells[bad].as_ref()).map(Bound::unbind);
                first_error = Some(refusal.at(py, first_row + bad, &column.key, value));
            }
        }
    }
    first_error.map_or(Ok(()), Err)
}

fn tuples<'py>(py: Python<'py>, slice: &Slice) -> Result<Vec<TupleRun<'py>>> {
    let mut runs: Vec<TupleRun<'py>> = Vec::new();
    for row in 0..slice.rows {
        let given: Vec<_> =
            (0..slice.columns.len()).filter(|&c| slice.columns[c].is_given(row)).collect();
        let values = given.iter().map(|&column| object(py, &slice.columns[column], row));
        let tuple = PyTuple::new(py, values.collect::<Vec<_>>())?;
        match runs.last_mut() {
            Some((columns, rows)) if *columns == given => rows.push(tuple),
            _ => runs.push((given, vec![tuple])),
        }
    }
    Ok(runs)
}

fn object<'py>(py: Python<'py>, series: &Series, row: usize) -> Bound<'py, PyAny> {
    match &series.values {
        Values::Object(values) => values[row].as_ref().map(|value| value.bind(py).clone()),
        _ => None,
    }
    .unwrap_or_else(|| py.None().into_bound(py))
}

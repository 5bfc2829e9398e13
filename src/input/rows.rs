//! Rows that are Python mappings or objects, taken apart into columns.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PyString};

use super::value::{Code, Refusal};
use crate::error::{Error, Result};
use crate::plan::{Absent, Column, Plan, Role};

/// Rows at a time: enough to decide a column's type once for many cells, few enough for the cache.
pub const BLOCK: usize = 256;

/// The cells of a block, column by column: `cells[column * capacity + row]`.
pub struct Block<'py> {
    cells: Vec<Option<Bound<'py, PyAny>>>,
    capacity: usize,
    pub rows: usize,
}

impl<'py> Block<'py> {
    pub fn new(columns: usize, capacity: usize) -> Self {
        Self { cells: (0..columns * capacity).map(|_| None).collect(), capacity, rows: 0 }
    }

    pub fn column(&self, column: usize) -> &[Option<Bound<'py, PyAny>>] {
        &self.cells[column * self.capacity..][..self.rows]
    }

    /// The cell of the row that is being read.
    fn cell(&self, column: usize) -> Option<&Bound<'py, PyAny>> {
        self.cells[column * self.capacity + self.rows].as_ref()
    }

    fn set(&mut self, column: usize, value: Option<Bound<'py, PyAny>>) {
        self.cells[column * self.capacity + self.rows] = value;
    }

    /// Makes room for `capacity` rows.
    pub fn renew(&mut self, columns: usize, capacity: usize) {
        if self.capacity < capacity {
            *self = Self::new(columns, capacity);
        } else {
            self.cells.fill_with(|| None);
            self.rows = 0;
        }
    }
}

/// Where rows come from.
enum Rows {
    /// A list and the position of its next row.
    List(Py<PyList>, usize),
    Iterator(Py<PyIterator>),
}

/// Reads rows one after the other.
pub struct RowReader {
    rows: Rows,
    /// `adapt(row, position) -> dict` for rows that are no dicts of plain attribute names.
    adapt: Py<PyAny>,
    /// The context of context-sensitive defaults.
    context: Py<PyAny>,
    /// Keys of the last row in its order: most inputs have one order, and then comparing
    /// pointers is enough to know a column.
    order: Vec<(Py<PyString>, usize)>,
    pub next_row: usize,
}

impl RowReader {
    pub fn new(rows: &Bound<'_, PyAny>, adapt: Py<PyAny>, context: Py<PyAny>) -> PyResult<Self> {
        let rows = match rows.cast_exact::<PyList>() {
            Ok(list) => Rows::List(list.clone().unbind(), 0),
            Err(_) => Rows::Iterator(rows.try_iter()?.unbind()),
        };
        Ok(Self { rows, adapt, context, order: Vec::new(), next_row: 0 })
    }

    pub fn is_list(&self) -> bool {
        matches!(self.rows, Rows::List(..))
    }

    /// How many rows of a list are left.
    pub fn left(&self, py: Python<'_>) -> Option<usize> {
        match &self.rows {
            Rows::List(list, position) => Some(list.bind(py).len().saturating_sub(*position)),
            Rows::Iterator(_) => None,
        }
    }

    /// Goes back to that row of a list, to read it again.
    pub fn rewind(&mut self, row: usize) {
        if let Rows::List(_, position) = &mut self.rows {
            (*position, self.next_row) = (row, row);
        }
    }

    /// Reads at most `want` rows into the empty block. After an error the block holds the rows
    /// before it.
    pub fn read<'py>(
        &mut self,
        py: Python<'py>,
        plan: &Plan,
        want: usize,
        block: &mut Block<'py>,
        code: Code,
    ) -> Result<()> {
        let defaults = plan.columns.iter().any(|c| matches!(c.get().absent, Absent::Call(_)));
        while block.rows < want {
            let Some(row) = self.next(py)? else {
                return Ok(());
            };
            self.take_apart(py, plan, &row, block, code)?;
            if defaults {
                self.call_defaults(py, plan, block)?;
            }
            block.rows += 1;
            self.next_row += 1;
        }
        Ok(())
    }

    fn next<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match &mut self.rows {
            // The list is asked for its length each time: a default may have changed it.
            Rows::List(list, position) => {
                let list = list.bind(py);
                if *position >= list.len() {
                    return Ok(None);
                }
                *position += 1;
                list.get_item(*position - 1).map(Some)
            }
            Rows::Iterator(rows) => rows.bind(py).clone().next().transpose(),
        }
    }

    fn take_apart<'py>(
        &mut self,
        py: Python<'py>,
        plan: &Plan,
        row: &Bound<'py, PyAny>,
        block: &mut Block<'py>,
        code: Code,
    ) -> Result<()> {
        if let Ok(dict) = row.cast_exact::<PyDict>()
            && self.scatter(py, plan, dict, block)?
        {
            return Ok(());
        }
        if code == Code::BuiltIn {
            return Err(Error::Foreign);
        }
        for column in 0..plan.columns.len() {
            block.set(column, None);
        }
        let adapted = self.adapt.bind(py).call1((row, self.next_row))?;
        if !self.scatter(py, plan, adapted.cast::<PyDict>().map_err(PyErr::from)?, block)? {
            return Err(Error::Internal(format!("an adapted row has an unknown key: {adapted}")));
        }
        Ok(())
    }

    /// Puts the values of a dict into their columns; false if a key is no plain attribute name.
    fn scatter<'py>(
        &mut self,
        py: Python<'py>,
        plan: &Plan,
        dict: &Bound<'py, PyDict>,
        block: &mut Block<'py>,
    ) -> PyResult<bool> {
        for (position, (key, value)) in dict.iter().enumerate() {
            let column = match self.order.get(position) {
                Some((known, column)) if known.is(&key) => *column,
                _ => {
                    // Only exact strings are looked up: their hash and comparison run no user
                    // code, so the dict can't change under the iterator.
                    let Ok(key) = key.cast_into_exact::<PyString>() else {
                        return Ok(false);
                    };
                    let Some(column) = plan.index.bind(py).get_item(&key)? else {
                        return Ok(false);
                    };
                    let column = column.extract()?;
                    self.order.truncate(position);
                    self.order.push((key.unbind(), column));
                    column
                }
            };
            block.set(column, Some(value));
        }
        Ok(true)
    }

    /// Calls the Python defaults of the row just read: first those of a new row, then those of one
    /// that is changed, for they may be of the same columns.
    fn call_defaults<'py>(
        &self,
        py: Python<'py>,
        plan: &Plan,
        block: &mut Block<'py>,
    ) -> Result<()> {
        for of_updates in [false, true] {
            let calls = |column: &Column| matches!(column.absent, Absent::Call(_));
            let mut columns = plan.columns.iter().map(Py::get);
            if columns.any(|column| calls(column) && (column.role == Role::Update) == of_updates) {
                self.call_some_defaults(py, plan, block, of_updates)?;
            }
        }
        Ok(())
    }

    /// In the order of the table's columns.
    fn call_some_defaults<'py>(
        &self,
        py: Python<'py>,
        plan: &Plan,
        block: &mut Block<'py>,
        of_updates: bool,
    ) -> Result<()> {
        let context = self.context.bind(py);
        let parameters = PyDict::new(py);
        let concerned = |column: &Column| match column.role {
            Role::Default => !of_updates,
            Role::Update => of_updates,
            Role::Value | Role::Key | Role::Match | Role::Input => true,
        };
        // The next version is told to nobody: the one of the row has its name.
        let is_told = |column: &Column| {
            column.role != Role::Update
                || column.instead_of.is_some()
                || !matches!(column.absent, Absent::Call(_))
        };
        let columns = || plan.columns.iter().map(Py::get).enumerate();
        for (position, column) in columns().filter(|(_, column)| concerned(column)) {
            match cell(block, position, column.drop_none) {
                Some(value) if !column.forced => parameters.set_item(&column.table_key, value)?,
                _ if column.instead_of.is_some_and(|main| block.cell(main).is_some()) => {}
                _ if matches!(column.absent, Absent::Call(_) | Absent::Value(_))
                    && is_told(column) =>
                {
                    parameters.set_item(&column.table_key, py.None())?;
                }
                _ => {}
            }
        }
        context.setattr(pyo3::intern!(py, "current_parameters"), &parameters)?;
        for (position, column) in columns() {
            if (column.role == Role::Update) != of_updates {
                continue;
            }
            let given = |position| {
                let column = plan.column(position);
                cell(block, position, column.drop_none).is_some() && !column.forced
            };
            if given(position) || column.instead_of.is_some_and(given) {
                continue;
            }
            let value = match &column.absent {
                Absent::Call(function) => function.bind(py).call1((context,)).map_err(|error| {
                    Refusal::raised(py, error).at(py, self.next_row, &column.key, None)
                })?,
                Absent::Value(value) => value.bind(py).clone(),
                Absent::Null | Absent::Omit | Absent::Sql(_) => continue,
            };
            if is_told(column) {
                parameters.set_item(&column.table_key, &value)?;
            }
            block.set(position, Some(value));
        }
        Ok(())
    }
}

/// The given value of the row just read.
fn cell<'a, 'py>(
    block: &'a Block<'py>,
    column: usize,
    drop_none: bool,
) -> Option<&'a Bound<'py, PyAny>> {
    block.cell(column).filter(|value| !(drop_none && value.is_none()))
}

//! What Python calls for rows that are found by their keys.

use std::cmp::Ordering;

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::encode::NO_NUL;
use super::keyed_sql::{Meeting, Statement, Target, Unfit, Writer};
use crate::error::{BadValue, Error, Result};
use crate::output;
use crate::plan::{Conflict, Plan};
use crate::slice::Slice;
use crate::values::{Strings, Values};

/// A statement and its parameters.
type Sent<'py> = (String, Vec<Bound<'py, PyBytes>>);

/// Writes the statements of update, upsert and delete for rows of a slice, given by their numbers.
#[pyclass(frozen, module = "fastbulk._native")]
pub struct PostgresKeyed {
    plan: Py<Plan>,
    /// One per column of the plan; none where only `row` is called.
    targets: Vec<Option<Target>>,
    /// Arrays are parameters.
    binary: bool,
}

#[pymethods]
impl PostgresKeyed {
    #[new]
    #[pyo3(signature = (plan, targets, binary=false))]
    fn new(plan: Py<Plan>, targets: Vec<Option<Target>>, binary: bool) -> Self {
        Self { plan, targets, binary }
    }

    /// The rows that have something to do.
    fn asking(&self, slice: &Slice, rows: Vec<usize>) -> Vec<usize> {
        let asking: Vec<_> = {
            let writer = self.writer(slice, &rows);
            rows.iter().copied().filter(|&row| writer.asks(row)).collect()
        };
        asking
    }

    /// The rows that give their whole keys, those of them with a NULL in it, and the others.
    fn by_key(&self, slice: &Slice, rows: Vec<usize>) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
        let writer = self.writer(slice, &rows);
        let (keyed, others): (Vec<_>, _) = rows.iter().partition(|&&row| writer.has_key(row));
        let (nulls, plain) = keyed.into_iter().partition(|&row| writer.has_null(row));
        (plain, nulls, others)
    }

    /// The rows in the order that statements of many rows have; None if only the server knows it,
    /// or two keys are equal.
    fn in_order(&self, slice: &Slice, rows: Vec<usize>) -> Option<Vec<usize>> {
        if rows.len() < 2 {
            return Some(rows);
        }
        let mut keys = Vec::new();
        for (column, _) in self.plan.get().key() {
            let series = &slice.columns[column];
            let target = self.targets.get(column).and_then(Option::as_ref);
            if rows.iter().any(|&row| series.is_null(row))
                || target.is_some_and(|target| !target.is_ordered_as(&series.values))
            {
                return None;
            }
            keys.push(Key::of(&series.values)?);
        }
        let compare = |a: usize, b: usize| {
            let orders = keys.iter().map(|key| key.compare(a, b));
            orders.fold(Ordering::Equal, Ordering::then)
        };
        let mut rows = rows;
        rows.sort_by(|&a, &b| compare(a, b));
        rows.is_sorted_by(|&a, &b| compare(a, b).is_lt()).then_some(rows)
    }

    fn update<'py>(
        &self,
        py: Python<'py>,
        slice: &Slice,
        rows: Vec<usize>,
        lock: bool,
        with_returning: bool,
    ) -> Result<Sent<'py>> {
        self.send(py, slice, &rows, |writer| writer.update(lock, with_returning))
    }

    fn delete<'py>(&self, py: Python<'py>, slice: &Slice, rows: Vec<usize>) -> Result<Sent<'py>> {
        self.send(py, slice, &rows, Writer::delete)
    }

    fn lock<'py>(&self, py: Python<'py>, slice: &Slice, rows: Vec<usize>) -> Result<Sent<'py>> {
        self.send(py, slice, &rows, Writer::lock)
    }

    fn sorted<'py>(&self, py: Python<'py>, slice: &Slice, rows: Vec<usize>) -> Result<Sent<'py>> {
        self.send(py, slice, &rows, Writer::sorted)
    }

    fn alone(&self, py: Python<'_>, slice: &Slice, row: usize, column: usize) -> Result<String> {
        self.write(py, slice, &[row], |writer| writer.alone(column))
    }

    fn look<'py>(&self, py: Python<'py>, slice: &Slice, rows: Vec<usize>) -> Result<Sent<'py>> {
        self.send(py, slice, &rows, Writer::look)
    }

    fn read_back<'py>(
        &self,
        py: Python<'py>,
        slice: &Slice,
        rows: Vec<usize>,
    ) -> Result<Sent<'py>> {
        self.send(py, slice, &rows, Writer::read_back)
    }

    /// None where the unique key has no condition.
    fn uncovered<'py>(
        &self,
        py: Python<'py>,
        slice: &Slice,
        rows: Vec<usize>,
    ) -> Result<Option<Sent<'py>>> {
        match self.conflict()?.key_where.as_deref() {
            Some(condition) => {
                self.send(py, slice, &rows, |writer| writer.uncovered(condition)).map(Some)
            }
            None => Ok(None),
        }
    }

    /// The statement, and what it does with rows that are there: `leave`, `lock` (they are still to
    /// be updated, or to be read) or `update`.
    fn upsert<'py>(
        &self,
        py: Python<'py>,
        slice: &Slice,
        rows: Vec<usize>,
        reads_xmax: bool,
    ) -> Result<(Sent<'py>, &'static str)> {
        let conflict = self.conflict()?;
        let writer = self.writer(slice, &rows);
        let (meeting, name) = if writer.is_left_alone() {
            if self.plan.get().returning.is_empty() {
                (Meeting::Leave, "leave")
            } else {
                (Meeting::Lock, "leave")
            }
        } else if reads_xmax && writer.is_one_statement() {
            (Meeting::Update, "update")
        } else {
            (Meeting::Lock, "lock")
        };
        let sent = self.send(py, slice, &rows, |writer| writer.upsert(conflict, meeting))?;
        Ok((sent, name))
    }

    /// Whether one statement inserts or updates every one of the rows.
    fn changes_all(&self, slice: &Slice, rows: Vec<usize>) -> Result<bool> {
        Ok(self.writer(slice, &rows).changes_all(self.conflict()?))
    }

    /// That statement, for rows in the order of their keys, of which no two are equal.
    fn upsert_all<'py>(
        &self,
        py: Python<'py>,
        slice: &Slice,
        rows: Vec<usize>,
    ) -> Result<Sent<'py>> {
        let conflict = self.conflict()?;
        self.send(py, slice, &rows, |writer| writer.upsert_all(conflict))
    }

    /// An update of such rows.
    fn update_all<'py>(
        &self,
        py: Python<'py>,
        slice: &Slice,
        rows: Vec<usize>,
    ) -> Result<Sent<'py>> {
        self.send(py, slice, &rows, Writer::update_all)
    }

    fn insert<'py>(&self, py: Python<'py>, slice: &Slice, rows: Vec<usize>) -> Result<Sent<'py>> {
        self.send(py, slice, &rows, Writer::insert)
    }

    /// An update or upsert of rows in order, without a look at the catalog, and whether it has
    /// arrays; None if the rows need several statements.
    fn few<'py>(
        &self,
        py: Python<'py>,
        slice: &Slice,
        rows: Vec<usize>,
        lost: &str,
    ) -> Result<Option<(Sent<'py>, bool)>> {
        let few =
            self.write(py, slice, &rows, |writer| writer.with_arrays(self.binary).few(lost))?;
        Ok(few.map(|(statement, has_arrays)| (sent(py, statement), has_arrays)))
    }

    /// What locks the rows that are there before those are upserted one after the other; None if
    /// nothing needs to.
    fn lock_few(&self, py: Python<'_>, slice: &Slice, rows: Vec<usize>) -> Result<Option<String>> {
        self.write(py, slice, &rows, |writer| writer.lock_few())
    }

    /// The statement for one row, with its values in the text.
    fn row(&self, py: Python<'_>, slice: &Slice, row: usize) -> Result<String> {
        self.write(py, slice, &[row], Writer::row)
    }
}

/// The statement of one row that gives all columns.
#[pyfunction]
pub fn postgres_keyed_sql(plan: &Plan) -> String {
    let slice = Slice { first_row: 0, nbytes: 0, rows: 1, columns: Vec::new() };
    Writer::with_marks(plan, &slice).row().unwrap_or_default()
}

/// Values whose order is known here.
enum Key<'a> {
    Days(&'a [i32]),
    Numbers(&'a [i64]),
    Uuids(&'a [u128]),
    Texts(&'a Strings),
}

impl<'a> Key<'a> {
    fn of(values: &'a Values) -> Option<Self> {
        Some(match values {
            Values::Date(values) => Self::Days(values),
            Values::Int(values)
            | Values::Time(values)
            | Values::Timestamp(values)
            | Values::Instant(values) => Self::Numbers(values),
            Values::Uuid(values) => Self::Uuids(values),
            Values::Text(values) => Self::Texts(values),
            Values::Bool(_)
            | Values::Float(_)
            | Values::Bytes(_)
            | Values::Decimal(_)
            | Values::Json(_)
            | Values::Dynamic(_)
            | Values::Object(_) => return None,
        })
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        match self {
            Self::Days(values) => values[a].cmp(&values[b]),
            Self::Numbers(values) => values[a].cmp(&values[b]),
            Self::Uuids(values) => values[a].cmp(&values[b]),
            Self::Texts(values) => values.get(a).cmp(values.get(b)),
        }
    }
}

fn sent(py: Python<'_>, (sql, arrays): Statement) -> Sent<'_> {
    (sql, arrays.iter().map(|array| PyBytes::new(py, array)).collect())
}

impl PostgresKeyed {
    fn writer<'a>(&'a self, slice: &'a Slice, rows: &'a [usize]) -> Writer<'a> {
        Writer::new(self.plan.get(), slice, &self.targets, rows)
    }

    fn conflict(&self) -> Result<&Conflict> {
        let conflict = self.plan.get().conflict.as_ref();
        conflict.ok_or_else(|| Error::Internal("the plan of an upsert has a conflict".to_owned()))
    }

    /// Writes a statement of many rows.
    fn send<'a, 'py>(
        &'a self,
        py: Python<'py>,
        slice: &'a Slice,
        rows: &'a [usize],
        sql: impl FnOnce(Writer<'a>) -> std::result::Result<Statement, Unfit> + Send,
    ) -> Result<Sent<'py>> {
        let binary = self.binary;
        let statement = self.write(py, slice, rows, |writer| sql(writer.with_arrays(binary)))?;
        Ok(sent(py, statement))
    }

    /// Writes a statement without the GIL.
    fn write<'a, T: Send>(
        &'a self,
        py: Python<'_>,
        slice: &'a Slice,
        rows: &'a [usize],
        sql: impl FnOnce(Writer<'a>) -> std::result::Result<T, Unfit> + Send,
    ) -> Result<T> {
        let written = py.detach(|| sql(self.writer(slice, rows)));
        written.map_err(|(row, column)| {
            Error::Row(Box::new(BadValue {
                row: slice.first_row + row,
                key: self.plan.get().column(column).key.clone(),
                value: output::to_python(py, slice.columns[column].get(row))
                    .ok()
                    .map(Bound::unbind),
                reason: NO_NUL.to_owned(),
                cause: Some(PyOverflowError::new_err(NO_NUL)),
            }))
        })
    }
}

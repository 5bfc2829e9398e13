//! Batches of columns, as slices of the plan's columns.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field, FieldRef};
use pyo3::intern;
use pyo3::prelude::*;

use super::arrow::{Batch, Batches, Columns, Lane, dicts};
use super::convert::{self, Refused};
use super::objects::{distinct, objects};
use super::pairs::{How, how};
use super::rows::{BLOCK, RowReader};
use super::source::read_rows;
use super::value::{Code, Refusal, Stop, push_column, sent};
use crate::error::{BadColumn, BadValue, Error, Result};
use crate::gate::Breath;
use crate::kind::Kind;
use crate::output::to_python;
use crate::plan::{Absent, Column, Plan};
use crate::slice::Slice;
use crate::values::{Series, SeriesBuilder};

/// Reads slices from the columns of a call.
pub struct ColumnReader {
    batches: Batches,
    /// How many rows there are, if that is known.
    length: Option<usize>,
    /// Positions in the batches of the plan's columns, and how their values get there.
    sources: Vec<Option<(usize, How)>>,
    /// A default or a composite's setter has to see whole rows.
    by_rows: bool,
    adapt: Py<PyAny>,
    context: Py<PyAny>,
    /// Rows in the slices so far.
    rows: usize,
}

impl ColumnReader {
    pub fn new(
        py: Python<'_>,
        plan: &Plan,
        columns: &Columns,
        adapt: Py<PyAny>,
        context: Py<PyAny>,
    ) -> Result<Self> {
        let batches = columns.take()?;
        let mut sources = vec![None; plan.columns.len()];
        let mut by_rows = plan.columns.iter().any(|c| matches!(c.get().absent, Absent::Call(_)));
        // Who needs whole rows has no answer for a name alone.
        let resolve = adapt.bind(py).getattr_opt(intern!(py, "resolve"))?;
        by_rows |= resolve.is_none();
        for (position, field) in batches.fields.iter().enumerate() {
            let Some(resolve) = &resolve else { break };
            let name = resolve.call1((field.name(), 0))?;
            if name.is_none() {
                continue; // unknown, and to be ignored
            }
            let Some(column) = plan.index.bind(py).get_item(&name)? else {
                by_rows = true;
                continue;
            };
            let column: usize = column.extract()?;
            let how = how(plan.column(column), field);
            if how == How::Never || sources[column].is_some() {
                return Err(Error::Column(Box::new(BadColumn {
                    key: plan.column(column).key.clone(),
                    column,
                    given: (how == How::Never).then(|| field.data_type().to_string()),
                })));
            }
            sources[column] = Some((position, how));
        }
        let length = columns.length;
        Ok(Self { batches, length, sources, by_rows, adapt, context, rows: 0 })
    }

    /// The columns whose values are made Python objects on their way.
    pub fn as_objects(&self) -> Vec<String> {
        let fields = self.batches.fields.iter().enumerate();
        let is_object = |position: usize| {
            self.by_rows || self.sources.contains(&Some((position, How::AsObjects)))
        };
        fields.filter(|(p, _)| is_object(*p)).map(|(_, field)| field.name().clone()).collect()
    }

    /// Whether no code of a user's makes the rows while they are read.
    pub fn is_held(&self) -> bool {
        self.length.is_some()
    }

    /// How many rows are left, if that is known.
    pub fn left(&self) -> Option<usize> {
        self.length.map(|length| length.saturating_sub(self.rows))
    }

    /// Whether it is known that no more rows come.
    pub fn ended(&self) -> bool {
        self.batches.ended()
    }

    /// The next slice: of at most `max_rows` rows and about `max_bytes`. None after the last row.
    pub fn read(
        &mut self,
        py: Python<'_>,
        plan: &Plan,
        max_rows: usize,
        max_bytes: usize,
        code: Code,
        breath: &mut Breath<'_>,
    ) -> Result<Option<Slice>> {
        let Some(batch) = self.batches.next(py, max_rows, max_bytes)? else { return Ok(None) };
        let slice = if self.by_rows {
            self.by_rows(py, plan, &batch, code, breath)
        } else {
            self.slice(py, plan, &batch, code, breath)
        };
        match slice {
            Err(Error::Foreign) => self.batches.put_back(batch),
            _ => self.rows += batch.rows,
        }
        slice.map(Some)
    }

    fn by_rows(
        &self,
        py: Python<'_>,
        plan: &Plan,
        batch: &Batch,
        code: Code,
        breath: &mut Breath<'_>,
    ) -> Result<Slice> {
        let lanes = self.batches.fields.iter().zip(&batch.lanes).enumerate();
        let columns = lanes
            .map(|(position, (field, lane))| {
                self.converted(py, plan, position, field, lane, batch.rows)
            })
            .collect::<Result<Vec<_>>>()?;
        let rows = dicts(py, &self.batches.fields, &columns, batch.rows)?;
        let (adapt, context) = (self.adapt.clone_ref(py), self.context.clone_ref(py));
        let mut reader = RowReader::new(rows.as_any(), adapt, context)?;
        reader.next_row = self.rows;
        let (slice, _) = read_rows(py, plan, &mut reader, batch.rows, usize::MAX, code, breath)?;
        slice.ok_or_else(|| Error::Internal("a batch has no rows".to_owned()))
    }

    /// The values of a column as Python objects, and as its kind has them where nothing is lost.
    fn converted<'py>(
        &self,
        py: Python<'py>,
        plan: &Plan,
        position: usize,
        field: &FieldRef,
        lane: &Lane,
        rows: usize,
    ) -> Result<Vec<Bound<'py, PyAny>>> {
        let natively = Some((position, How::Natively));
        let target = self.sources.iter().position(|&source| source == natively);
        let column = target.map(|target| plan.column(target));
        match (column, lane) {
            // A moment's object has a zone, and a document's is no text.
            (Some(column), Lane::Arrow(array))
                if !matches!(column.kind, Kind::Instant | Kind::Json) =>
            {
                let series =
                    py.detach(|| self::natively(column, array)).map_err(|(row, refused)| {
                        self.refused(py, column, field, array, row, refused)
                    })?;
                Ok((0..rows).map(|row| to_python(py, series.get(row))).collect::<PyResult<_>>()?)
            }
            _ => self.objects(py, field, lane, rows, column.map_or(field.name(), |c| &c.key)),
        }
    }

    fn slice(
        &self,
        py: Python<'_>,
        plan: &Plan,
        batch: &Batch,
        code: Code,
        breath: &mut Breath<'_>,
    ) -> Result<Slice> {
        let mut columns = Vec::with_capacity(plan.columns.len());
        let mut first: Option<Box<BadValue>> = None;
        for position in 0..self.sources.len() {
            match self.series(py, plan, batch, position, code, breath) {
                Ok(series) => columns.push(series),
                // Of several bad rows the first is reported.
                Err(Error::Row(bad)) => {
                    if first.as_ref().is_none_or(|first| bad.row < first.row) {
                        first = Some(bad);
                    }
                }
                Err(error) => return Err(error),
            }
            breath.take(py)?;
        }
        match first {
            Some(bad) => Err(Error::Row(bad)),
            None => Ok(Slice {
                first_row: self.rows,
                nbytes: batch.nbytes(),
                rows: batch.rows,
                columns,
            }),
        }
    }

    fn series(
        &self,
        py: Python<'_>,
        plan: &Plan,
        batch: &Batch,
        position: usize,
        code: Code,
        breath: &mut Breath<'_>,
    ) -> Result<Series> {
        let (column, rows) = (plan.column(position), batch.rows);
        let Some((lane, how)) = self.sources[position] else {
            return match column.absent {
                Absent::Value(_) => {
                    self.of_objects(py, plan, column, &vec![None; rows], code, breath)
                }
                _ => Ok(nothing(column, rows, true)),
            };
        };
        let (field, lane) = (&self.batches.fields[lane], &batch.lanes[lane]);
        match (how, lane) {
            (How::Natively, Lane::Arrow(array)) if !fills_nulls(column, array) => {
                let series = py.detach(|| natively(column, array));
                series
                    .map_err(|(row, refused)| self.refused(py, column, field, array, row, refused))
            }
            (How::AsObjects, Lane::Arrow(array)) if by_distinct(column, array) => {
                self.of_distinct(py, plan, column, array, code, breath)
            }
            _ => {
                let values = self.objects(py, field, lane, rows, &column.key)?;
                self.of_objects(py, plan, column, &cells(values), code, breath)
            }
        }
    }

    /// Python code sees each value of a dictionary once.
    fn of_distinct(
        &self,
        py: Python<'_>,
        plan: &Plan,
        column: &Column,
        array: &ArrayRef,
        code: Code,
        breath: &mut Breath<'_>,
    ) -> Result<Series> {
        let (positions, values) = distinct(array)
            .map_err(|refused| Error::Internal(format!("a dictionary can't be read: {refused}")))?;
        let field = Arc::new(Field::new(&column.key, values.data_type().clone(), true));
        let rows = values.len();
        let series = self
            .objects(py, &field, &Lane::Arrow(values), rows, &column.key)
            .and_then(|values| self.of_objects(py, plan, column, &cells(values), code, breath))
            .map_err(|error| self.in_row_of(error, &positions))?;
        Ok(series.spread(py, column.kind, &positions))
    }

    /// The error of a dictionary's value as that of the first row that has it.
    fn in_row_of(&self, mut error: Error, positions: &[Option<usize>]) -> Error {
        if let Error::Row(bad) = &mut error {
            let value = Some(bad.row - self.rows);
            bad.row = self.rows + positions.iter().position(|&given| given == value).unwrap_or(0);
        }
        error
    }

    fn objects<'py>(
        &self,
        py: Python<'py>,
        field: &FieldRef,
        lane: &Lane,
        rows: usize,
        key: &str,
    ) -> Result<Vec<Bound<'py, PyAny>>> {
        lane.objects(py, field, rows)
            .map_err(|(row, error)| Refusal::raised(py, error).at(py, self.rows + row, key, None))
    }

    fn of_objects<'py>(
        &self,
        py: Python<'py>,
        plan: &Plan,
        column: &Column,
        cells: &[Option<Bound<'py, PyAny>>],
        code: Code,
        breath: &mut Breath<'_>,
    ) -> Result<Series> {
        let mut builder = SeriesBuilder::new(column.kind, cells.len());
        for (block, cells) in cells.chunks(BLOCK).enumerate() {
            match push_column(py, plan, column, cells, &mut builder, code) {
                Ok(()) => breath.take(py)?,
                Err(Stop::Foreign) => return Err(Error::Foreign),
                Err(Stop::At(row, refusal)) => {
                    let value = sent(py, column, cells[row].as_ref()).map(Bound::unbind);
                    let row = self.rows + block * BLOCK + row;
                    return Err(refusal.at(py, row, &column.key, value));
                }
            }
        }
        Ok(builder.finish())
    }

    fn refused(
        &self,
        py: Python<'_>,
        column: &Column,
        field: &FieldRef,
        array: &ArrayRef,
        row: usize,
        refused: Refused,
    ) -> Error {
        let value = objects(py, field, &array.slice(row, 1)).ok();
        Error::Row(Box::new(BadValue {
            row: self.rows + row,
            key: column.key.clone(),
            value: value.and_then(|values| Some(values.first()?.clone().unbind())),
            reason: refused.to_string(),
            cause: Some(refused.into()),
        }))
    }
}

/// Whether Python code has a value for some NULLs.
fn fills_nulls(column: &Column, array: &ArrayRef) -> bool {
    let nulls = || array.logical_null_count() > 0;
    match column.absent {
        Absent::Value(_) => column.forced || column.drop_none && nulls(),
        // To a JSON type None is a document.
        _ => column.kind == Kind::Json && !column.drop_none && nulls(),
    }
}

/// The cells of rows that all give a value.
fn cells(values: Vec<Bound<'_, PyAny>>) -> Vec<Option<Bound<'_, PyAny>>> {
    values.into_iter().map(Some).collect()
}

/// Whether its rows refer to values, and what becomes of one is the same in each.
fn by_distinct(column: &Column, array: &ArrayRef) -> bool {
    matches!(array.data_type(), DataType::Dictionary(..))
        && !fills_nulls(column, array)
        && (column.drop_none || array.logical_null_count() == 0)
}

/// A column without values: left out by the rows, or NULL.
fn nothing(column: &Column, rows: usize, absent: bool) -> Series {
    let mut builder = SeriesBuilder::new(column.kind, rows);
    for _ in 0..rows {
        if absent { builder.push_absent() } else { builder.push_null() }
    }
    builder.finish()
}

fn natively(column: &Column, array: &ArrayRef) -> std::result::Result<Series, (usize, Refused)> {
    if *array.data_type() == DataType::Null {
        return Ok(nothing(column, array.len(), column.drop_none));
    }
    let (values, nulls) = convert::values(column.kind, array)?;
    let validity = nulls.filter(|nulls| nulls.null_count() > 0);
    let given = if column.drop_none { validity.clone() } else { None };
    Ok(Series { values, validity, given })
}

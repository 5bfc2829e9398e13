//! One slice into one table: the loop over prepared statements, inside a savepoint.

use std::collections::HashMap;
use std::ops::Range;

use super::bind::{Handle, Statement};
use super::catalog::Catalog;
use super::decode::{Collector, ascends};
use super::encode::{Encoded, encode};
use super::error::{Failure, Reason, Result};
use super::feed::{Module, TABLE};
use super::sql::{Place, Shape, insert, insert_from, keys_of_rowids};
use super::{keyed, upsert};
use crate::gate::Gate;
use crate::output::Outcome;
use crate::plan::{Absent, Plan, Verb};
use crate::slice::Slice;
use crate::values::{Cell, Series, Values};

/// From how many rows on it pays to have the rows read as a table, by one statement.
pub const FEED_FROM: usize = 200;

/// Rows per statement that is read as a table and returns rows: SQLite reads all of them before it
/// inserts the first, and Ctrl-C is seen between two statements then.
const FEED_RETURNING: usize = 1_000;

/// From how many rows on it pays to prepare a statement for several.
pub const TOGETHER_FROM: usize = 50;

/// Rows per statement where they are not read as a table, and from how many rows on.
const SIZES: [(usize, usize); 2] = [(10, TOGETHER_FROM), (1, 0)];

/// How many prepared statements are kept, of which each takes some kilobytes.
pub const STATEMENTS: usize = 500;

/// Does with the slice what the plan says; all of it or, with an error, nothing. An update or delete
/// leaves out the rows in `skipped`.
pub fn run(handle: Handle<'_>, plan: &Plan, slice: &Slice, skipped: &[usize]) -> Result<Outcome> {
    let is_nested = handle.in_transaction();
    handle.execute("SAVEPOINT fastbulk_job")?;
    let gate = Gate::new();
    let outcome = work(handle, plan, slice, skipped).and_then(|outcome| {
        gate.at_end().map_err(interrupted)?;
        // The caller raises, and triggers may have done something all the same.
        if plan.verb == Verb::Update && !outcome.missing.is_empty() {
            handle.execute("ROLLBACK TO fastbulk_job")?;
        }
        // In autocommit this is a COMMIT, which checks deferred constraints.
        handle.execute("RELEASE fastbulk_job")?;
        Ok(outcome)
    });
    if outcome.is_err() {
        // A conflict clause may have rolled the whole transaction back, and the savepoint with
        // it: what failed first is what is reported. A release that is a COMMIT may find the
        // database locked, and then the transaction would stay open.
        let undo: &[_] = if is_nested {
            &["ROLLBACK TO fastbulk_job", "RELEASE fastbulk_job"]
        } else {
            &["ROLLBACK"]
        };
        for sql in undo {
            let _ = handle.execute(sql);
        }
    }
    outcome
}

fn work(handle: Handle<'_>, plan: &Plan, slice: &Slice, skipped: &[usize]) -> Result<Outcome> {
    match plan.verb {
        Verb::Insert => attempt(handle, plan, slice),
        Verb::Update | Verb::Delete => keyed::run(handle, plan, slice, skipped),
        Verb::Upsert => upsert::run(handle, plan, slice),
    }
}

fn interrupted(error: pyo3::PyErr) -> Failure {
    Failure { reason: Reason::Interrupted(error), sql: String::new(), row: None }
}

/// Many rows at once; if that fails or comes back in disorder, again row by row, which names the
/// bad row and can't mix rows up.
fn attempt(handle: Handle<'_>, plan: &Plan, slice: &Slice) -> Result<Outcome> {
    let effort = if plan.one_by_one || checks_rows_of_itself(handle, plan, slice)? {
        Effort::RowByRow
    } else {
        Effort::Together
    };
    let first = Insert::new(handle, plan, slice)?.run(effort);
    let failure = match first {
        Ok((outcome, true)) => return Ok(outcome),
        Ok((_, false)) => None,
        Err(Failure { row: None, reason: reason @ Reason::Refused { .. }, sql })
            if is_about_a_row(&reason) =>
        {
            Some(Failure { row: None, reason, sql })
        }
        Err(failure) => return Err(failure),
    };
    if handle.execute("ROLLBACK TO fastbulk_job").is_err()
        && let Some(failure) = failure
    {
        return Err(failure);
    }
    let (outcome, _) = Insert::new(handle, plan, slice)?.run(Effort::RowByRow)?;
    failure.map_or(Ok(outcome), Err)
}

/// Whether a row that refers to a later row of the slice is to be refused: a statement checks its
/// foreign keys at its end, and SQLAlchemy sends such rows one by one.
fn checks_rows_of_itself(handle: Handle<'_>, plan: &Plan, slice: &Slice) -> Result<bool> {
    if slice.rows < TOGETHER_FROM {
        return Ok(false);
    }
    Catalog::new(handle, plan).refers_to_itself()
}

/// Whether one row may be to blame, and not the disk, a lock or a signal.
pub fn is_about_a_row(reason: &Reason) -> bool {
    use rusqlite::ffi::{SQLITE_CONSTRAINT, SQLITE_ERROR, SQLITE_MISMATCH, SQLITE_TOOBIG};
    let Reason::Refused { code, .. } = reason else {
        return false;
    };
    matches!(code & 0xff, SQLITE_CONSTRAINT | SQLITE_ERROR | SQLITE_MISMATCH | SQLITE_TOOBIG)
}

/// How many rows a statement takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effort {
    Together,
    RowByRow,
}

/// One pass over a slice.
struct Insert<'h, 'd> {
    handle: Handle<'h>,
    plan: &'d Plan,
    slice: &'d Slice,
    catalog: Catalog<'h, 'd>,
    shapes: Shapes,
}

impl<'h, 'd> Insert<'h, 'd> {
    fn new(handle: Handle<'h>, plan: &'d Plan, slice: &'d Slice) -> Result<Self> {
        let catalog = Catalog::new(handle, plan);
        let shapes = Shapes::new(&catalog, plan, slice)?;
        Ok(Self { handle, plan, slice, catalog, shapes })
    }

    /// The outcome, and whether its rows certainly stand in the order of the slice.
    fn run(&self, effort: Effort) -> Result<(Outcome, bool)> {
        let encoded: Vec<_> = self.slice.columns.iter().map(encode).collect();
        let mut module = self.module(effort, &encoded)?;
        if let Some(module) = &mut module
            && let Some(outcome) = self.run_with_rowids(module)?
        {
            return Ok((outcome, true));
        }
        let mut pass = Pass {
            insert: self,
            encoded: &encoded,
            statements: HashMap::new(),
            collector: Collector::default(),
            rowcount: 0,
            gate: Gate::new(),
        };
        for (shape, start, end) in self.shapes.runs(self.slice) {
            match &mut module {
                Some(module) if end - start >= FEED_FROM && feeds(&shape) => {
                    pass.feed(module, &shape, start..end)?;
                }
                _ => pass.run(&shape, start, end, effort)?,
            }
        }
        let outcome = pass.collector.finish(pass.rowcount);
        self.check(&outcome)?;
        let in_order = effort == Effort::RowByRow || self.is_ordered(&outcome);
        Ok((outcome, in_order))
    }

    /// The slice as a table, where that pays. Not on a table with triggers: one may be slow, and
    /// Ctrl-C is seen between two statements only.
    fn module<'e>(
        &'e self,
        effort: Effort,
        encoded: &'e [Encoded<'e>],
    ) -> Result<Option<Module<'e>>> {
        let shape = &self.shapes.base;
        if effort == Effort::RowByRow || self.slice.rows < FEED_FROM || !feeds(shape) {
            return Ok(None);
        }
        if !self.catalog.is_plain_table()? {
            return Ok(None);
        }
        Module::new(self.handle, &self.slice.columns, encoded).map(Some)
    }

    /// The generated keys as the rowids that SQLite tells after each row, where RETURNING would
    /// give nothing else and cost half as much again. None where that can't be trusted: it takes
    /// rows that are inserted as they are read, and a key that is the rowid.
    fn run_with_rowids(&self, module: &mut Module<'_>) -> Result<Option<Outcome>> {
        let Some((key, _)) = self.plan.sentinel else { return Ok(None) };
        let shape = &self.shapes.base;
        if !self.plan.returns_key_only
            || shape[key] != Place::Out
            || !self.shapes.splitting.is_empty()
        {
            return Ok(None);
        }
        module.set(0..self.slice.rows, true);
        let sql = insert_from(self.plan, shape, TABLE, false);
        let ran = Statement::prepare(self.handle, &sql).and_then(|mut statement| statement.run());
        ran.map_err(|failure| fed(failure, module, insert(self.plan, shape, 1)))?;
        let rowcount = self.handle.changes();
        let rowids = module.take_rowids();
        if rowcount == self.slice.rows as u64 && self.are_keys(key, &rowids)? {
            let values = Values::Int(rowids.into());
            let series = Series { values, validity: None, given: None };
            let rows = self.slice.rows;
            let columns = vec![series];
            return Ok(Some(Outcome { rowcount, rows, columns, ..Outcome::default() }));
        }
        self.handle.execute("ROLLBACK TO fastbulk_job")?;
        Ok(None)
    }

    /// One rowid per row, each greater than the one before, and the key is the rowid.
    fn are_keys(&self, key: usize, rowids: &[i64]) -> Result<bool> {
        let (Some(&first), Some(&last)) = (rowids.first(), rowids.last()) else { return Ok(false) };
        if rowids.len() != self.slice.rows || rowids.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Ok(false);
        }
        let mut statement = Statement::prepare(self.handle, &keys_of_rowids(self.plan, key))?;
        statement.bind_int(1, first)?;
        statement.bind_int(2, last)?;
        let mut found = 0;
        while statement.step()? {
            if statement.column(0) != statement.column(1) {
                return Ok(false);
            }
            found += 1;
        }
        Ok(found == 1 + i32::from(first != last))
    }

    fn check(&self, outcome: &Outcome) -> Result<()> {
        if self.plan.returning.is_empty() || outcome.rows == self.slice.rows {
            return Ok(());
        }
        let reason = Reason::RowsLost { sent: self.slice.rows, returned: outcome.rows };
        Err(Failure { reason, sql: insert(self.plan, &self.shapes.base, 1), row: None })
    }

    /// Generated keys ascend in the order of their insert, unless a row gave its own.
    fn is_ordered(&self, outcome: &Outcome) -> bool {
        let Some((column, sentinel)) = self.plan.sentinel else {
            return true;
        };
        self.shapes.base[column] != Place::Out || ascends(&outcome.columns[sentinel])
    }

    /// Rows per statement of that shape.
    fn fitting(&self, shape: &[Place], size: usize) -> usize {
        let parameters: usize = (0..shape.len())
            .filter(|&column| shape[column] == Place::Bound)
            .map(|column| self.plan.column(column).placeholder.len() - 1)
            .sum();
        // An expression is evaluated once per statement if it is a subquery, and DEFAULT VALUES
        // takes one row.
        if parameters == 0 || shape.contains(&Place::Expression) {
            return 1;
        }
        let by_parameters = self.handle.parameter_limit() / parameters;
        let by_text = self.handle.text_limit() / (insert(self.plan, shape, 1).len() + 2);
        size.min(by_parameters).min(by_text).max(1)
    }
}

/// Whether rows of that shape can be read from a table: an expression is evaluated once per
/// statement if it is a subquery, and DEFAULT VALUES takes one row.
fn feeds(shape: &[Place]) -> bool {
    !shape.contains(&Place::Expression) && shape.contains(&Place::Bound)
}

/// What ended a statement that read the rows as a table.
pub fn fed(failure: Failure, module: &mut Module<'_>, sql: String) -> Failure {
    match module.take_interrupt() {
        Some(error) => Failure { reason: Reason::Interrupted(error), sql, row: None },
        None => Failure { sql, ..failure },
    }
}

/// The moving parts of a pass.
struct Pass<'p, 'h, 'd> {
    insert: &'p Insert<'h, 'd>,
    encoded: &'p [Encoded<'d>],
    statements: HashMap<(Shape, usize), Statement<'h, 'p>>,
    collector: Collector,
    rowcount: u64,
    gate: Gate,
}

impl Pass<'_, '_, '_> {
    fn run(&mut self, shape: &Shape, start: usize, end: usize, effort: Effort) -> Result<()> {
        let mut row = start;
        let sizes = match effort {
            Effort::Together => SIZES.as_slice(),
            Effort::RowByRow => &SIZES[1..],
        };
        for &(size, from) in sizes {
            let size = self.insert.fitting(shape, size);
            while end - row >= size.max(1) && end - start >= from {
                self.chunk(shape, row, size)?;
                row += size;
            }
        }
        Ok(())
    }

    /// One statement for all these rows, or few if they come back.
    fn feed(&mut self, module: &mut Module<'_>, shape: &Shape, rows: Range<usize>) -> Result<()> {
        let Insert { handle, plan, .. } = *self.insert;
        let size = if plan.returning.is_empty() { rows.len() } else { FEED_RETURNING };
        let mut statement = Statement::prepare(handle, &insert_from(plan, shape, TABLE, true))?;
        for start in rows.clone().step_by(size) {
            self.look_for_signals()?;
            module.set(start..rows.end.min(start + size), false);
            let stepped = loop {
                match statement.step() {
                    Ok(true) => self.collector.take(&statement),
                    Ok(false) => break Ok(()),
                    Err(failure) => break Err(failure),
                }
            };
            stepped.map_err(|failure| fed(failure, module, insert(plan, shape, 1)))?;
            self.rowcount += handle.changes();
            statement.reset();
        }
        Ok(())
    }

    fn look_for_signals(&mut self) -> Result<()> {
        self.gate.interrupted().map_err(interrupted)
    }

    fn chunk(&mut self, shape: &Shape, row: usize, rows: usize) -> Result<()> {
        let Insert { handle, plan, slice, .. } = *self.insert;
        self.look_for_signals()?;
        let key = (shape.clone(), rows);
        // Rows of ever new shapes: a statement that was used once is not worth its memory.
        if self.statements.len() >= STATEMENTS && !self.statements.contains_key(&key) {
            self.statements.clear();
        }
        let statement = match self.statements.entry(key) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(Statement::prepare(handle, &insert(plan, shape, rows))?)
            }
        };
        let bound = bind(plan, slice, self.encoded, shape, row, rows, statement);
        let result = bound.and_then(|()| {
            while statement.step()? {
                self.collector.take(statement);
            }
            Ok(())
        });
        statement.reset();
        result.map_err(|failure| Failure {
            row: (rows == 1 && is_about_a_row(&failure.reason)).then_some(row),
            sql: insert(plan, shape, 1),
            ..failure
        })?;
        self.rowcount += handle.changes();
        Ok(())
    }
}

/// Binds `rows` rows, column by column, so that a column's type is looked at once.
fn bind<'p>(
    plan: &Plan,
    slice: &Slice,
    encoded: &'p [Encoded<'_>],
    shape: &[Place],
    first: usize,
    rows: usize,
    statement: &mut Statement<'_, 'p>,
) -> Result<()> {
    let repeats: Vec<_> = (0..shape.len())
        .map(|column| match shape[column] {
            Place::Bound => plan.column(column).placeholder.len() - 1,
            Place::Out | Place::Expression => 0,
        })
        .collect();
    let stride: usize = repeats.iter().sum();
    let mut offset = 1;
    for (column, &repeat) in repeats.iter().enumerate() {
        for repetition in 0..repeat {
            let index = |row: usize| ((row - first) * stride + offset + repetition) as i32;
            let series = &slice.columns[column];
            bind_column(statement, series, &encoded[column], first..first + rows, index)?;
        }
        offset += repeat;
    }
    Ok(())
}

/// Binds the values that one row has for these columns, each as the parameter of its position.
pub fn bind_row<'p>(
    statement: &mut Statement<'_, 'p>,
    slice: &Slice,
    encoded: &'p [Encoded<'_>],
    columns: &[usize],
    row: usize,
) -> Result<()> {
    for &column in columns {
        let index = column as i32 + 1;
        let series = &slice.columns[column];
        bind_column(statement, series, &encoded[column], row..row + 1, |_| index)?;
    }
    Ok(())
}

fn bind_column<'p>(
    statement: &mut Statement<'_, 'p>,
    series: &Series,
    encoded: &'p Encoded<'_>,
    rows: Range<usize>,
    index: impl Fn(usize) -> i32,
) -> Result<()> {
    macro_rules! bind_each {
        ($row:ident => $bind:expr) => {
            for $row in rows {
                if series.is_null($row) {
                    statement.bind_null(index($row))?;
                } else {
                    $bind?;
                }
            }
        };
    }
    match encoded {
        Encoded::Bool(values) => {
            bind_each!(row => statement.bind_int(index(row), i64::from(values.value(row))));
        }
        Encoded::Int(values) => bind_each!(row => statement.bind_int(index(row), values[row])),
        Encoded::Float(values) => bind_each!(row => statement.bind_float(index(row), values[row])),
        Encoded::Text(values) => {
            bind_each!(row => statement.bind_text(index(row), values.get(row)));
        }
        Encoded::Bytes(values) => {
            bind_each!(row => statement.bind_bytes(index(row), values.get(row)));
        }
        Encoded::Fixed { width, data } => {
            bind_each!(row => statement.bind_text(index(row), &data[row * width..][..*width]));
        }
        Encoded::Dynamic(cells) => {
            bind_each!(row => bind_cell(statement, index(row), cells.get(row)));
        }
    }
    Ok(())
}

pub fn bind_cell<'p>(statement: &mut Statement<'_, 'p>, index: i32, cell: Cell<'p>) -> Result<()> {
    match cell {
        Cell::Bool(value) => statement.bind_int(index, i64::from(value)),
        Cell::Int(value) => statement.bind_int(index, value),
        Cell::Float(value) => statement.bind_float(index, value),
        Cell::Text(value) => statement.bind_text(index, value.as_bytes()),
        Cell::Bytes(value) => statement.bind_bytes(index, value),
        // `encode` left none of the other shapes.
        Cell::Null
        | Cell::Date(_)
        | Cell::Time(_)
        | Cell::Timestamp(_)
        | Cell::Instant(_)
        | Cell::Uuid(_)
        | Cell::Decimal(_)
        | Cell::Json(_) => statement.bind_null(index),
    }
}

/// Which columns stand in the statement, row by row.
struct Shapes {
    /// The shape of a row that gives all of `splitting`.
    base: Shape,
    /// Columns that some rows give and others leave to the database.
    splitting: Vec<usize>,
    /// How each column stands where a row leaves it out.
    absent: Shape,
}

impl Shapes {
    fn new(catalog: &Catalog<'_, '_>, plan: &Plan, slice: &Slice) -> Result<Self> {
        let mut shapes = Self { base: Vec::new(), splitting: Vec::new(), absent: Vec::new() };
        let mut with_default = None;
        for (position, series) in slice.columns.iter().enumerate() {
            let column = plan.column(position);
            let absent = match column.absent {
                Absent::Sql(_) => Place::Expression,
                Absent::Null | Absent::Omit | Absent::Value(_) | Absent::Call(_) => Place::Out,
            };
            shapes.absent.push(absent);
            let missing = series.given.as_ref().map_or(0, arrow_buffer::NullBuffer::null_count);
            shapes.base.push(if missing == slice.rows { absent } else { Place::Bound });
            if missing == 0 || missing == slice.rows {
                continue;
            }
            // Absent is NULL only where the database has no default of its own.
            let is_null = match column.absent {
                Absent::Null | Absent::Value(_) | Absent::Call(_) => {
                    if with_default.is_none() {
                        with_default = Some(catalog.columns_with_default()?);
                    }
                    with_default
                        .as_ref()
                        .is_some_and(|names| !names.contains(&column.name.to_ascii_lowercase()))
                }
                Absent::Omit | Absent::Sql(_) => false,
            };
            if !is_null {
                shapes.splitting.push(position);
            }
        }
        Ok(shapes)
    }

    /// Runs of consecutive rows of one shape: (shape, first row, row after the last).
    fn runs<'s>(&'s self, slice: &'s Slice) -> impl Iterator<Item = (Shape, usize, usize)> + 's {
        let mut start = 0;
        std::iter::from_fn(move || {
            if start == slice.rows {
                return None;
            }
            let same = |row: usize| {
                self.splitting.iter().all(|&column| {
                    let series = &slice.columns[column];
                    series.is_given(row) == series.is_given(start)
                })
            };
            let end = if self.splitting.is_empty() {
                slice.rows
            } else {
                (start + 1..slice.rows).find(|&row| !same(row)).unwrap_or(slice.rows)
            };
            let run = (self.shape(slice, start), start, end);
            start = end;
            Some(run)
        })
    }

    fn shape(&self, slice: &Slice, row: usize) -> Shape {
        let mut shape = self.base.clone();
        for &column in &self.splitting {
            if !slice.columns[column].is_given(row) {
                shape[column] = self.absent[column];
            }
        }
        shape
    }
}

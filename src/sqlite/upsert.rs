//! Insert, or update where the key is there already.

use std::collections::HashMap;

use super::bind::{Handle, Statement};
use super::catalog::Catalog;
use super::decode::Collector;
use super::encode::{Encoded, encode};
use super::error::{Failure, Reason, Result};
use super::feed::{Module, TABLE};
use super::job::{FEED_FROM, TOGETHER_FROM, bind_cell, bind_row, fed};
use super::keyed::{Prepared, Statements, in_any_order, interrupted, prepare, read_back};
use super::keys::Keys;
use super::sql::{self, Place, Shape};
use crate::gate::Gate;
use crate::output::{Action, Outcome};
use crate::plan::{Absent, Conflict, Duplicates, Plan, Role};
use crate::slice::Slice;
use crate::values::{Cell, Series};

/// No row has this rowid but by somebody's wish.
const NO_ROWID: i64 = i64::MIN + 1;

/// Upserts the slice's rows.
///
/// Where keys can't be compared here, the row that each has landed on tells duplicates, as the
/// database's own comparison of keys sees them.
pub fn run(handle: Handle<'_>, plan: &Plan, slice: &Slice) -> Result<Outcome> {
    let Some(conflict) = &plan.conflict else { return Ok(Outcome::default()) };
    let encoded: Vec<_> = slice.columns.iter().map(encode).collect();
    let upsert = Upsert { handle, plan, conflict, slice, encoded: &encoded };
    let last_rowid = handle.last_rowid();
    let outcome = upsert.run();
    if handle.last_rowid() == NO_ROWID {
        handle.forget_rowid(last_rowid);
    }
    outcome
}

struct Upsert<'p, 'h, 'd> {
    handle: Handle<'h>,
    plan: &'p Plan,
    conflict: &'p Conflict,
    slice: &'p Slice,
    encoded: &'p [Encoded<'d>],
}

/// The primary key of a row, as the database has it.
type Landed = Vec<Stored>;

/// A stored value that can be compared.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Stored {
    Null,
    Int(i64),
    Float(u64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Stored {
    fn of(cell: Cell<'_>) -> Self {
        match cell {
            Cell::Int(value) => Self::Int(value),
            Cell::Float(value) => Self::Float(value.to_bits()),
            Cell::Text(value) => Self::Text(value.to_owned()),
            Cell::Bytes(value) => Self::Bytes(value.to_owned()),
            _ => Self::Null,
        }
    }

    fn cell(&self) -> Cell<'_> {
        match self {
            Self::Null => Cell::Null,
            Self::Int(value) => Cell::Int(*value),
            Self::Float(bits) => Cell::Float(f64::from_bits(*bits)),
            Self::Text(value) => Cell::Text(value),
            Self::Bytes(value) => Cell::Bytes(value),
        }
    }
}

impl<'p, 'h> Upsert<'p, 'h, '_> {
    fn run(&self) -> Result<Outcome> {
        let rows = self.slice.rows;
        let input: Vec<_> = (0..rows).collect();
        let keys = match self.conflict.key_where {
            // Rows that don't meet the condition have no key.
            Some(_) => None,
            None => Keys::comparable(self.handle, self.plan, self.slice, self.encoded)?,
        };
        let Some(keys) = keys else {
            let skipped = match self.conflict.duplicates {
                Duplicates::Last => self.all_but_last(&input)?,
                Duplicates::Error | Duplicates::First => vec![false; rows],
            };
            return self.pass(&input, &skipped);
        };
        let sorted = keys.order();
        let skipped = self.duplicates(&keys, &sorted)?;
        let catalog = Catalog::new(self.handle, self.plan);
        let is_simple =
            rows >= TOGETHER_FROM && catalog.is_plain_table()? && catalog.has_rowids()?;
        let feeds = is_simple && rows >= FEED_FROM && !catalog.refers_to_itself()?;
        // Generated keys are given in the order of the rows.
        let mut order = if self.is_by_primary_key() { sorted.clone() } else { input };
        order.retain(|&row| !skipped[row]);
        let mut outcome = in_any_order(self.handle, order, |order, again| {
            if !is_simple {
                return self.pass(order, &skipped);
            }
            if feeds
                && !again
                && let Some(outcome) = self.feed(order)?
            {
                return Ok(outcome);
            }
            self.row_by_row(order)
        })?;
        if is_simple && !self.plan.returning.is_empty() {
            let Self { handle, plan, slice, encoded, .. } = *self;
            read_back(handle, plan, slice, encoded, &sorted, &mut outcome)?;
            self.check(&outcome)?;
        }
        Ok(outcome)
    }

    fn check(&self, outcome: &Outcome) -> Result<()> {
        if outcome.rows == self.slice.rows {
            return Ok(());
        }
        let reason = Reason::RowsLost { sent: self.slice.rows, returned: outcome.rows };
        Err(Failure { reason, sql: String::new(), row: None })
    }

    fn is_by_primary_key(&self) -> bool {
        self.plan.key().all(|(_, key)| self.conflict.primary_key.contains(&key.sql_name))
    }

    /// Which rows are left out because another has the same key.
    fn duplicates(&self, keys: &Keys<'_>, sorted: &[usize]) -> Result<Vec<bool>> {
        let mut skipped = vec![false; self.slice.rows];
        let mut twice: Option<(usize, usize)> = None;
        for rows in sorted.chunk_by(|&a, &b| keys.compare(a, b).is_eq()) {
            let (&[first, .., last] | &[first @ last]) = rows else { continue };
            let counts = if self.conflict.duplicates == Duplicates::First { first } else { last };
            for &row in rows {
                skipped[row] = row != counts;
            }
            if rows.len() > 1 && twice.is_none_or(|(_, second)| rows[1] < second) {
                twice = Some((first, rows[1]));
            }
        }
        match twice {
            Some((first, second)) if self.conflict.duplicates == Duplicates::Error => {
                Err(same_key(first, second))
            }
            _ => Ok(skipped),
        }
    }

    /// Rows of which a later one has the same key: found by doing the work from the last row to
    /// the first, and undoing it.
    fn all_but_last(&self, order: &[usize]) -> Result<Vec<bool>> {
        let handle = self.handle;
        // Rows that refer to others of the slice come before them here.
        let deferred = handle.is_on("PRAGMA defer_foreign_keys")?;
        handle.execute("SAVEPOINT fastbulk_keys")?;
        handle.execute("PRAGMA defer_foreign_keys = ON")?;
        let backwards: Vec<_> = order.iter().rev().copied().collect();
        let tried = self.pass(&backwards, &vec![false; self.slice.rows]);
        handle.execute("ROLLBACK TO fastbulk_keys")?;
        handle.execute("RELEASE fastbulk_keys")?;
        if !deferred {
            handle.execute("PRAGMA defer_foreign_keys = OFF")?;
        }
        let actions = tried?.actions;
        Ok(actions.iter().map(|action| *action == Action::Duplicate).collect())
    }

    /// One statement for all rows, into a table without triggers and of no equal keys. None where
    /// it does not suit them, or would not tell what became of each.
    fn feed(&self, order: &[usize]) -> Result<Option<Outcome>> {
        let Self { handle, plan, conflict, slice, encoded } = *self;
        if plan.condition.is_some() || conflict.only_changed || !slice.columns.iter().all(is_even) {
            return Ok(None);
        }
        let shape = self.shape(0);
        let Some((sql, otherwise)) = sql::upsert_from(plan, conflict, &shape, TABLE) else {
            return Ok(None);
        };
        let mut module = Module::new(handle, &slice.columns, encoded)?;
        module.set_order(order, NO_ROWID);
        handle.forget_rowid(NO_ROWID);
        let ran = Statement::prepare(handle, &sql).and_then(|mut statement| statement.run());
        ran.map_err(|failure| fed(failure, &mut module, sql))?;
        let rowids = module.take_rowids();
        let mut outcome = self.nothing_done();
        for (&row, &rowid) in order.iter().zip(&rowids) {
            let action = if rowid == NO_ROWID { otherwise } else { Action::Inserted };
            outcome.done(row, action);
        }
        if rowids.len() == order.len() && outcome.rowcount == handle.changes() {
            return Ok(Some(outcome));
        }
        handle.execute("ROLLBACK TO fastbulk_job")?;
        Ok(None)
    }

    /// Into a table without triggers and of no equal keys.
    fn row_by_row(&self, order: &[usize]) -> Result<Outcome> {
        let Self { handle, plan, conflict, slice, encoded } = *self;
        let mut gate = Gate::new();
        let mut statements = Statements::default();
        let mut outcome = self.nothing_done();
        for &row in order {
            interrupted(&mut gate)?;
            let prepared = statements.get(handle, self.shape(row), |shape: &Shape| {
                Some(sql::upsert(plan, conflict, shape, false))
            })?;
            let Some((statement, columns)) = prepared else { continue };
            handle.forget_rowid(NO_ROWID);
            let ran =
                bind_row(statement, slice, encoded, columns, row).and_then(|()| statement.run());
            statement.reset();
            ran.map_err(|failure| failure.of_row(row))?;
            let action = match (handle.changes(), handle.last_rowid()) {
                (0, _) => Action::Unchanged,
                (_, NO_ROWID) => Action::Updated,
                _ => Action::Inserted,
            };
            outcome.done(row, action);
        }
        Ok(outcome)
    }

    fn nothing_done(&self) -> Outcome {
        Outcome { actions: vec![Action::Duplicate; self.slice.rows], ..Outcome::default() }
    }

    /// Row by row, into any table, with any keys.
    fn pass(&self, order: &[usize], skipped: &[bool]) -> Result<Outcome> {
        let mut gate = Gate::new();
        let mut statements = Statements::default();
        let mut finder = prepare(self.handle, sql::landed(self.plan, self.conflict))?;
        let mut first_rows: HashMap<Landed, usize> = HashMap::new();
        let mut landed: Vec<Landed> = vec![Vec::new(); self.slice.rows];
        let mut outcome = self.nothing_done();
        for &row in order {
            interrupted(&mut gate)?;
            if skipped[row] {
                continue;
            }
            let before = self.find(&mut finder, row)?;
            if self.conflict.duplicates != Duplicates::Error
                && let Some(before) = &before
                && first_rows.contains_key(before)
                && self.lands_on(&mut statements, row, before)?
            {
                landed[row].clone_from(before);
                continue;
            }
            let (action, found) = self.send(&mut statements, row, before)?;
            if let Some(&first) = first_rows.get(&found) {
                return Err(same_key(first.min(row), first.max(row)));
            }
            first_rows.insert(found.clone(), row);
            outcome.done(row, action);
            landed[row] = found;
        }
        if self.plan.returning.is_empty() {
            return Ok(outcome);
        }
        // A row that was left out has landed where its successor did.
        for (row, landed) in landed.iter_mut().enumerate() {
            if landed.is_empty()
                && let Some(found) = self.find(&mut finder, row)?
            {
                *landed = found;
            }
        }
        let returned = self.read_landed(&landed)?.finish(0);
        (outcome.rows, outcome.columns) = (returned.rows, returned.columns);
        self.check(&outcome)?;
        Ok(outcome)
    }

    /// Whether the row would conflict with that one: to have its key is not enough where the index
    /// has a condition.
    fn lands_on(
        &self,
        statements: &mut Statements<'h, 'p, Shape>,
        row: usize,
        other: &Landed,
    ) -> Result<bool> {
        if self.conflict.key_where.is_none() {
            return Ok(true);
        }
        self.handle.execute("SAVEPOINT fastbulk_row")?;
        let (_, landed) = self.send(statements, row, Some(other.clone()))?;
        self.handle.execute("ROLLBACK TO fastbulk_row")?;
        self.handle.execute("RELEASE fastbulk_row")?;
        Ok(landed == *other)
    }

    /// Sends one row, which may conflict with the one that was there before; what became of it, and
    /// where it is.
    fn send(
        &self,
        statements: &mut Statements<'h, 'p, Shape>,
        row: usize,
        before: Option<Landed>,
    ) -> Result<(Action, Landed)> {
        let prepared = statements.get(self.handle, self.shape(row), |shape| {
            Some(sql::upsert(self.plan, self.conflict, shape, true))
        })?;
        let mut found = None;
        if let Some((statement, columns)) = prepared {
            let bound = bind_row(statement, self.slice, self.encoded, columns, row);
            let ran = bound.and_then(|()| {
                while statement.step()? {
                    found = Some(stored(statement));
                }
                Ok(())
            });
            statement.reset();
            ran.map_err(|failure| failure.of_row(row))?;
        }
        match (found, before) {
            (Some(found), Some(before)) if found == before => Ok((Action::Updated, found)),
            (Some(found), _) => Ok((Action::Inserted, found)),
            (None, Some(before)) => Ok((Action::Unchanged, before)),
            (None, None) => Err(Failure {
                reason: Reason::RowsLost { sent: 1, returned: 0 },
                sql: String::new(),
                row: Some(row),
            }),
        }
    }

    /// The primary key of the row that is there already.
    fn find(
        &self,
        (statement, columns): &mut Prepared<'h, 'p>,
        row: usize,
    ) -> Result<Option<Landed>> {
        bind_row(statement, self.slice, self.encoded, columns, row)?;
        let found = statement.step()?.then(|| stored(statement));
        statement.reset();
        Ok(found)
    }

    fn shape(&self, row: usize) -> Shape {
        let place = |(position, series): (usize, &Series)| {
            let column = self.plan.column(position);
            let replaced =
                column.instead_of.is_some_and(|main| self.slice.columns[main].is_given(row));
            match (column.role, &column.absent) {
                (Role::Update | Role::Input | Role::Match, _) => Place::Out,
                (Role::Default, _) if replaced => Place::Out,
                _ if series.is_given(row) => Place::Bound,
                (_, Absent::Sql(_)) => Place::Expression,
                _ => Place::Out,
            }
        };
        self.slice.columns.iter().enumerate().map(place).collect()
    }

    fn read_landed(&self, landed: &'p [Landed]) -> Result<Collector> {
        let sql = sql::read_landed(self.plan, self.conflict);
        let mut statement = Statement::prepare(self.handle, &sql)?;
        let mut collector = Collector::default();
        for key in landed {
            for (position, value) in key.iter().enumerate() {
                bind_cell(&mut statement, position as i32 + 1, value.cell())?;
            }
            while statement.step()? {
                collector.take(&statement);
            }
            statement.reset();
        }
        Ok(collector)
    }
}

/// Whether all rows give the column, or none.
fn is_even(series: &Series) -> bool {
    series.given.as_ref().is_none_or(|given| given.null_count() == given.len())
}

fn same_key(first: usize, second: usize) -> Failure {
    Failure { reason: Reason::Duplicate { first, second }, sql: String::new(), row: Some(second) }
}

fn stored(statement: &Statement<'_, '_>) -> Landed {
    (0..statement.column_count()).map(|index| Stored::of(statement.column(index as i32))).collect()
}

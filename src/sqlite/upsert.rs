//! Insert, or update where the key is there already.

use std::collections::HashMap;

use super::bind::{Handle, Statement};
use super::decode::Collector;
use super::encode::{Encoded, encode};
use super::error::{Failure, Reason, Result};
use super::job::{bind_cell, bind_row, is_about_a_row};
use super::keyed::{order_by_key, prepare};
use super::sql::{self, Place, Shape};
use crate::gate::Gate;
use crate::output::{Action, Outcome};
use crate::plan::{Absent, Conflict, Duplicates, Plan, Role};
use crate::slice::Slice;
use crate::values::Cell;

/// No row has this rowid but by somebody's wish.
const NO_ROWID: i64 = i64::MIN + 1;

/// Upserts the slice's rows one by one: the row that each has landed on is what tells duplicates,
/// as the database's own comparison of keys sees them.
pub fn run(handle: Handle<'_>, plan: &Plan, slice: &Slice) -> Result<Outcome> {
    let Some(conflict) = &plan.conflict else { return Ok(Outcome::default()) };
    let encoded: Vec<_> = slice.columns.iter().map(encode).collect();
    // Generated keys are given in the order of the rows.
    let by_primary_key = plan.key().all(|(_, key)| conflict.primary_key.contains(&key.sql_name));
    let order = if by_primary_key {
        order_by_key(handle, plan, slice, &encoded)?
    } else {
        (0..slice.rows).collect()
    };
    let upsert = Upsert { handle, plan, conflict, slice, encoded: &encoded };
    let skipped = match conflict.duplicates {
        Duplicates::Last => upsert.all_but_last(&order)?,
        Duplicates::Error | Duplicates::First => vec![false; slice.rows],
    };
    upsert.pass(&order, &skipped)
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
    /// Rows of which a later one has the same key: found by doing the work from the last row to
    /// the first, and undoing it. Only if some key stands twice, which a first try tells.
    fn all_but_last(&self, order: &[usize]) -> Result<Vec<bool>> {
        self.handle.execute("SAVEPOINT fastbulk_keys")?;
        let backwards: Vec<_> = order.iter().rev().copied().collect();
        let tried = self.pass(&backwards, &vec![false; self.slice.rows]);
        self.handle.execute("ROLLBACK TO fastbulk_keys")?;
        self.handle.execute("RELEASE fastbulk_keys")?;
        let actions = tried?.actions;
        Ok(actions.iter().map(|action| *action == Action::Duplicate).collect())
    }

    fn pass(&self, order: &[usize], skipped: &[bool]) -> Result<Outcome> {
        let mut gate = Gate::new();
        let mut statements: HashMap<Shape, (Statement<'h, 'p>, Vec<usize>)> = HashMap::new();
        let mut finder = prepare(self.handle, sql::landed(self.plan, self.conflict))?;
        let mut first_rows: HashMap<Landed, usize> = HashMap::new();
        let mut landed: Vec<Landed> = vec![Vec::new(); self.slice.rows];
        let actions = vec![Action::Duplicate; self.slice.rows];
        let mut outcome = Outcome { actions, ..Outcome::default() };
        for &row in order {
            gate.interrupted().map_err(|error| Failure {
                reason: Reason::Interrupted(error),
                sql: String::new(),
                row: None,
            })?;
            if skipped[row] {
                continue;
            }
            let first_wins = self.conflict.duplicates != Duplicates::Error;
            if first_wins
                && let Some(found) = self.find(&mut finder, row)?
                && first_rows.contains_key(&found)
            {
                landed[row] = found;
                continue;
            }
            let (action, found) = self.send(&mut statements, &mut finder, row)?;
            if let Some(&first) = first_rows.get(&found) {
                let reason = Reason::Duplicate { first: first.min(row), second: first.max(row) };
                return Err(Failure { reason, sql: String::new(), row: Some(row) });
            }
            first_rows.insert(found.clone(), row);
            outcome.actions[row] = action;
            outcome.rowcount += u64::from(action != Action::Unchanged);
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
        let rows = self.read_back(&landed)?.finish(outcome.rowcount);
        Ok(Outcome { actions: outcome.actions, ..rows })
    }

    /// Sends one row; what became of it, and where it is.
    fn send(
        &self,
        statements: &mut HashMap<Shape, (Statement<'h, 'p>, Vec<usize>)>,
        finder: &mut (Statement<'h, 'p>, Vec<usize>),
        row: usize,
    ) -> Result<(Action, Landed)> {
        let (statement, columns) = match statements.entry(self.shape(row)) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let sql = sql::upsert(self.plan, self.conflict, entry.key());
                entry.insert(prepare(self.handle, sql)?)
            }
        };
        self.handle.forget_rowid(NO_ROWID);
        let mut found = None;
        let ran = bind_row(statement, self.slice, self.encoded, columns, row).and_then(|()| {
            while statement.step()? {
                found = Some(stored(statement));
            }
            Ok(())
        });
        statement.reset();
        ran.map_err(|failure| Failure {
            row: is_about_a_row(&failure.reason).then_some(row),
            ..failure
        })?;
        if let Some(found) = found {
            let inserted = self.handle.last_rowid() != NO_ROWID;
            return Ok((if inserted { Action::Inserted } else { Action::Updated }, found));
        }
        match self.find(finder, row)? {
            Some(found) => Ok((Action::Unchanged, found)),
            None => Err(Failure {
                reason: Reason::RowsLost { sent: 1, returned: 0 },
                sql: String::new(),
                row: Some(row),
            }),
        }
    }

    /// The primary key of the row that is there already.
    fn find(
        &self,
        (statement, columns): &mut (Statement<'h, 'p>, Vec<usize>),
        row: usize,
    ) -> Result<Option<Landed>> {
        bind_row(statement, self.slice, self.encoded, columns, row)?;
        let found = statement.step()?.then(|| stored(statement));
        statement.reset();
        Ok(found)
    }

    fn shape(&self, row: usize) -> Shape {
        let place = |(position, series): (usize, &crate::values::Series)| {
            let column = self.plan.column(position);
            let replaced =
                column.instead_of.is_some_and(|main| self.slice.columns[main].is_given(row));
            match (column.role, &column.absent) {
                (Role::Update | Role::Input | Role::Match, _) => Place::Out,
                (Role::Default, _) if replaced => Place::Out,
                (Role::Default, Absent::Sql(_)) => Place::Expression,
                _ if series.is_given(row) => Place::Bound,
                _ => Place::Out,
            }
        };
        self.slice.columns.iter().enumerate().map(place).collect()
    }

    fn read_back(&self, landed: &'p [Landed]) -> Result<Collector> {
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

fn stored(statement: &Statement<'_, '_>) -> Landed {
    (0..statement.column_count()).map(|index| Stored::of(statement.column(index as i32))).collect()
}

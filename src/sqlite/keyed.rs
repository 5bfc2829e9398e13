//! Rows that are found by their keys: update and delete.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use super::bind::{Handle, Statement};
use super::decode::Collector;
use super::encode::{Encoded, encode};
use super::error::{Failure, Reason, Result};
use super::job::{STATEMENTS, bind_row, is_about_a_row};
use super::keys::Keys;
use super::sql::{self, RowSql};
use crate::gate::Gate;
use crate::output::Outcome;
use crate::plan::{Plan, Verb};
use crate::slice::Slice;

/// Updates or deletes the rows that the slice's keys find, one by one.
///
/// In the order of the keys, which reads each page once; rows of one key stay in their order, so
/// that the last one wins. Rows in `skipped`, which ascends, are left out.
pub fn run(handle: Handle<'_>, plan: &Plan, slice: &Slice, skipped: &[usize]) -> Result<Outcome> {
    let encoded: Vec<_> = slice.columns.iter().map(encode).collect();
    let keys = Keys::comparable(handle, plan, slice, &encoded)?;
    let mut order = keys.as_ref().map_or_else(|| (0..slice.rows).collect(), Keys::order);
    order.retain(|row| skipped.binary_search(row).is_err());
    let mut repeated = Vec::new();
    if plan.verb == Verb::Delete {
        repeated = keys.map_or_else(|| order.clone(), |keys| keys.repeated(&order));
        repeated = existing(handle, plan, slice, &encoded, &repeated)?;
    }
    in_any_order(handle, order, |order, _| {
        let statements = Statements::default();
        let collector = Collector::default();
        Pass { handle, plan, slice, encoded: &encoded, repeated: &repeated, statements, collector }
            .run(order)
    })
}

/// Those of the rows that are there, in ascending order.
fn existing(
    handle: Handle<'_>,
    plan: &Plan,
    slice: &Slice,
    encoded: &[Encoded<'_>],
    rows: &[usize],
) -> Result<Vec<usize>> {
    let (mut statement, columns) = prepare(handle, sql::exists(plan))?;
    let mut found = Vec::new();
    for &row in rows {
        bind_row(&mut statement, slice, encoded, &columns, row)?;
        if statement.step()? {
            found.push(row);
        }
        statement.reset();
    }
    found.sort_unstable();
    Ok(found)
}

/// Does the work in that order, and where a row is refused, once more in the order of the input,
/// row by row: it may need what a row before it does, or is not known yet.
pub fn in_any_order(
    handle: Handle<'_>,
    mut order: Vec<usize>,
    mut work: impl FnMut(&[usize], bool) -> Result<Outcome>,
) -> Result<Outcome> {
    let done = work(&order, false);
    let Err(failure) = &done else { return done };
    let is_final = failure.row.is_some() && order.is_sorted();
    if is_final
        || !is_about_a_row(&failure.reason)
        || handle.execute("ROLLBACK TO fastbulk_job").is_err()
    {
        return done;
    }
    order.sort_unstable();
    work(&order, true)
}

/// What a row's key found.
enum Found {
    Yes,
    /// No row.
    Nothing,
    /// A row that is not as the condition has it.
    Other,
    /// The row sets nothing.
    NotAsked,
    /// A row that another row of the slice has deleted.
    Gone,
}

struct Pass<'p, 'h, 'd> {
    handle: Handle<'h>,
    plan: &'p Plan,
    slice: &'p Slice,
    encoded: &'p [Encoded<'d>],
    /// Rows to delete that were there and may be gone, for others may have the same key.
    repeated: &'p [usize],
    statements: Statements<'h, 'p, Vec<bool>>,
    collector: Collector,
}

impl Pass<'_, '_, '_> {
    fn run(&mut self, order: &[usize]) -> Result<Outcome> {
        let mut gate = Gate::new();
        let mut outcome = Outcome::default();
        let mut deleted = Vec::new();
        for &row in order {
            interrupted(&mut gate)?;
            match self.row(row)? {
                Found::Yes => {
                    outcome.rowcount += 1;
                    deleted.push(row);
                }
                Found::Nothing => outcome.missing.push(row),
                Found::Other => outcome.unmatched.push(row),
                Found::NotAsked => outcome.idle.push(row),
                Found::Gone => {}
            }
        }
        outcome.missing.sort_unstable();
        outcome.unmatched.sort_unstable();
        if self.plan.verb == Verb::Update
            && !self.plan.returning.is_empty()
            && outcome.missing.is_empty()
        {
            let mut rows = order.to_vec();
            rows.retain(|row| outcome.unmatched.binary_search(row).is_err());
            read_back(self.handle, self.plan, self.slice, self.encoded, &rows, &mut outcome)?;
        }
        if self.plan.verb == Verb::Delete {
            returned(std::mem::take(&mut self.collector), &deleted, self.slice, &mut outcome);
        }
        Ok(outcome)
    }

    fn row(&mut self, row: usize) -> Result<Found> {
        let Self { handle, plan, slice, encoded, ref mut statements, ref mut collector, .. } =
            *self;
        let given = slice.columns.iter().map(|series| series.is_given(row)).collect();
        let prepared = statements.get(handle, given, |given: &Vec<bool>| match plan.verb {
            Verb::Delete => Some(sql::delete(plan)),
            Verb::Insert | Verb::Update | Verb::Upsert => sql::update(plan, given),
        })?;
        let Some((statement, columns)) = prepared else { return Ok(Found::NotAsked) };
        let ran = bind_row(statement, slice, encoded, columns, row).and_then(|()| {
            while statement.step()? {
                collector.take(statement);
            }
            Ok(())
        });
        statement.reset();
        ran.map_err(|failure| failure.of_row(row))?;
        if handle.changes() > 0 {
            return Ok(Found::Yes);
        }
        if self.repeated.binary_search(&row).is_ok() && !self.exists(row)? {
            return Ok(Found::Gone);
        }
        if plan.condition.is_none() || !self.exists(row)? {
            return Ok(Found::Nothing);
        }
        Ok(Found::Other)
    }

    fn exists(&self, row: usize) -> Result<bool> {
        let (mut statement, columns) = prepare(self.handle, sql::exists(self.plan))?;
        bind_row(&mut statement, self.slice, self.encoded, &columns, row)?;
        statement.step()
    }
}

/// Adds to the outcome what is to be returned of these rows, as they are now, in the order of the
/// input. Those that are not there are missing.
pub fn read_back(
    handle: Handle<'_>,
    plan: &Plan,
    slice: &Slice,
    encoded: &[Encoded<'_>],
    rows: &[usize],
    outcome: &mut Outcome,
) -> Result<()> {
    let (mut statement, columns) = prepare(handle, sql::read_back(plan))?;
    let mut collector = Collector::default();
    let mut gate = Gate::new();
    for &row in rows {
        interrupted(&mut gate)?;
        bind_row(&mut statement, slice, encoded, &columns, row)?;
        if statement.step()? {
            collector.take(&statement);
        } else {
            outcome.missing.push(row);
        }
        statement.reset();
    }
    returned(collector, rows, slice, outcome);
    Ok(())
}

/// Adds what came back of these rows of the slice.
fn returned(collector: Collector, rows: &[usize], slice: &Slice, outcome: &mut Outcome) {
    let returned = collector.finish(0);
    (outcome.rows, outcome.columns) = (returned.rows, returned.columns);
    outcome.positions = positions(rows, slice.rows);
}

/// Where each of these different numbers below `end` stands among them; none if they ascend.
fn positions(rows: &[usize], end: usize) -> Vec<usize> {
    if rows.is_sorted() {
        return Vec::new();
    }
    let mut positions = vec![0; end];
    for &row in rows {
        positions[row] = 1;
    }
    let mut count = 0;
    for position in &mut positions {
        count += std::mem::replace(position, count);
    }
    rows.iter().map(|&row| positions[row]).collect()
}

/// A statement, and the columns whose values it takes.
pub type Prepared<'h, 'p> = (Statement<'h, 'p>, Vec<usize>);

pub fn prepare<'p>(handle: Handle<'_>, sql: RowSql) -> Result<Prepared<'_, 'p>> {
    Ok((Statement::prepare(handle, &sql.text)?, sql.columns))
}

/// The statements for rows that give different columns, where there is anything to say.
pub struct Statements<'h, 'p, Shape> {
    prepared: HashMap<Shape, Option<Prepared<'h, 'p>>>,
}

impl<Shape> Default for Statements<'_, '_, Shape> {
    fn default() -> Self {
        Self { prepared: HashMap::new() }
    }
}

impl<'h, 'p, Shape: Eq + Hash> Statements<'h, 'p, Shape> {
    pub fn get(
        &mut self,
        handle: Handle<'h>,
        shape: Shape,
        sql: impl FnOnce(&Shape) -> Option<RowSql>,
    ) -> Result<Option<&mut Prepared<'h, 'p>>> {
        // Rows of ever new shapes: a statement that was used once is not worth its memory.
        if self.prepared.len() >= STATEMENTS && !self.prepared.contains_key(&shape) {
            self.prepared.clear();
        }
        let prepared = match self.prepared.entry(shape) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let sql = sql(entry.key());
                entry.insert(sql.map(|sql| prepare(handle, sql)).transpose()?)
            }
        };
        Ok(prepared.as_mut())
    }
}

pub fn interrupted(gate: &mut Gate) -> Result<()> {
    gate.interrupted().map_err(|error| Failure {
        reason: Reason::Interrupted(error),
        sql: String::new(),
        row: None,
    })
}

#[cfg(test)]
mod tests {
    use super::positions;

    #[test]
    fn rows_know_their_places() {
        assert_eq!(positions(&[7, 2, 5], 9), [2, 0, 1]);
        assert!(positions(&[2, 5, 7], 9).is_empty());
    }
}

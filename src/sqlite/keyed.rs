//! Rows that are found by their keys: update and delete.

use std::collections::HashMap;

use super::bind::{Handle, Statement};
use super::catalog::Catalog;
use super::decode::Collector;
use super::encode::{Encoded, encode};
use super::error::{Failure, Reason, Result};
use super::job::{bind_row, is_about_a_row};
use super::sql::{self, RowSql};
use crate::gate::Gate;
use crate::output::Outcome;
use crate::plan::{Plan, Verb};
use crate::slice::Slice;

/// Which columns a row gives.
type Given = Vec<bool>;

/// Updates or deletes the rows that the slice's keys find, one by one.
///
/// In the order of the keys, which reads each page once; rows of one key stay in their order, so
/// that the last one wins.
pub fn run(handle: Handle<'_>, plan: &Plan, slice: &Slice) -> Result<Outcome> {
    let encoded: Vec<_> = slice.columns.iter().map(encode).collect();
    let order = order_by_key(handle, plan, slice, &encoded)?;
    let mut pass = Pass { handle, plan, slice, encoded: &encoded, statements: HashMap::new() };
    let mut gate = Gate::new();
    let mut outcome = Outcome::default();
    for row in order {
        gate.interrupted().map_err(|error| Failure {
            reason: Reason::Interrupted(error),
            sql: String::new(),
            row: None,
        })?;
        match pass.run(row)? {
            Found::Yes => outcome.rowcount += 1,
            Found::Nothing => outcome.missing.push(row),
            Found::Other => outcome.unmatched.push(row),
            Found::NotAsked => {}
        }
    }
    outcome.missing.sort_unstable();
    outcome.unmatched.sort_unstable();
    if plan.returning.is_empty() || plan.verb == Verb::Delete || !outcome.missing.is_empty() {
        return Ok(outcome);
    }
    let wanted = (0..slice.rows).filter(|row| outcome.unmatched.binary_search(row).is_err());
    let rows = pass.read_back(wanted)?.finish(outcome.rowcount);
    Ok(Outcome { missing: outcome.missing, unmatched: outcome.unmatched, ..rows })
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
}

struct Pass<'p, 'h, 'd> {
    handle: Handle<'h>,
    plan: &'p Plan,
    slice: &'p Slice,
    encoded: &'p [Encoded<'d>],
    statements: HashMap<Given, Option<(Statement<'h, 'p>, Vec<usize>)>>,
}

impl Pass<'_, '_, '_> {
    fn run(&mut self, row: usize) -> Result<Found> {
        let Self { handle, plan, slice, encoded, ref mut statements } = *self;
        let given: Given = slice.columns.iter().map(|series| series.is_given(row)).collect();
        let statement = match statements.entry(given) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let sql = match plan.verb {
                    Verb::Delete => Some(sql::delete(plan)),
                    Verb::Insert | Verb::Update | Verb::Upsert => sql::update(plan, entry.key()),
                };
                entry.insert(sql.map(|sql| prepare(handle, sql)).transpose()?)
            }
        };
        let Some((statement, columns)) = statement else { return Ok(Found::NotAsked) };
        let ran = bind_row(statement, slice, encoded, columns, row).and_then(|()| statement.run());
        statement.reset();
        ran.map_err(|failure| Failure {
            row: is_about_a_row(&failure.reason).then_some(row),
            ..failure
        })?;
        if handle.changes() > 0 {
            return Ok(Found::Yes);
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

    /// What is to be returned of these rows, as they are now.
    fn read_back(&self, rows: impl Iterator<Item = usize>) -> Result<Collector> {
        let (mut statement, columns) = prepare(self.handle, sql::read_back(self.plan))?;
        let mut collector = Collector::default();
        for row in rows {
            bind_row(&mut statement, self.slice, self.encoded, &columns, row)?;
            while statement.step()? {
                collector.take(&statement);
            }
            statement.reset();
        }
        Ok(collector)
    }
}

pub fn prepare<'p>(handle: Handle<'_>, sql: RowSql) -> Result<(Statement<'_, 'p>, Vec<usize>)> {
    Ok((Statement::prepare(handle, &sql.text)?, sql.columns))
}

/// The rows in the order of their keys where that is the database's order too, else as they come.
///
/// Keys that the database holds for equal must be equal here, or the last of them might not win.
pub fn order_by_key(
    handle: Handle<'_>,
    plan: &Plan,
    slice: &Slice,
    encoded: &[Encoded<'_>],
) -> Result<Vec<usize>> {
    let mut rows: Vec<_> = (0..slice.rows).collect();
    let keys: Vec<_> = plan.key().map(|(column, _)| column).collect();
    let is_text = |column: &usize| matches!(encoded[*column], Encoded::Text(_));
    let sortable = |column: &usize| {
        let series = &slice.columns[*column];
        series.validity.is_none()
            && matches!(
                encoded[*column],
                Encoded::Int(_) | Encoded::Text(_) | Encoded::Fixed { .. }
            )
    };
    if slice.rows < 2
        || !keys.iter().all(sortable)
        || keys.iter().any(is_text) && !Catalog::new(handle, plan).compares_bytes()?
    {
        return Ok(rows);
    }
    rows.sort_by(|&a, &b| {
        let mut orders = keys.iter().map(|&column| match &encoded[column] {
            Encoded::Int(values) => values[a].cmp(&values[b]),
            Encoded::Text(values) => values.get(a).cmp(values.get(b)),
            Encoded::Fixed { width, data } => {
                data[a * width..][..*width].cmp(&data[b * width..][..*width])
            }
            _ => std::cmp::Ordering::Equal,
        });
        orders.find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    });
    Ok(rows)
}

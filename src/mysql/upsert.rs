//! INSERT statements of an upsert, whose rows leave columns to defaults of several sorts.

use std::fmt::Write;

use super::keyed::{Overflow, fill, set_by, too_large};
use super::sql::{Cells, Refusal, Size, missing};
use super::text::Style;
use crate::plan::{Absent, Expression, Piece, Plan, Role};
use crate::slice::Slice;

/// What the new rows are called in ON DUPLICATE KEY UPDATE, where they have a name.
const NEW: &str = "fastbulk_new";

/// A column of the table, and what stands in for it in rows that don't give it.
struct Place<'a> {
    given: Cells<'a>,
    stand_in: Option<Cells<'a>>,
}

pub struct Insert<'a> {
    places: Vec<Place<'a>>,
    head: String,
    tail: String,
    style: Style<'a>,
}

impl<'a> Insert<'a> {
    /// `tail` is what follows the rows.
    pub fn new(
        plan: &'a Plan,
        slice: &'a Slice,
        generated: Option<usize>,
        tail: String,
        style: Style<'a>,
    ) -> Self {
        let cells = |column| Cells::new(plan, slice, column, missing(plan, column, generated));
        let places: Vec<_> = plan
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| matches!(column.get().role, Role::Key | Role::Value))
            .map(|(column, _)| Place {
                given: cells(column),
                stand_in: plan
                    .columns_of(Role::Default)
                    .find(|(_, default)| default.instead_of == Some(column))
                    .map(|(default, _)| cells(default)),
            })
            .filter(|place| place.is_needed(plan, slice.rows))
            .collect();
        let names: Vec<_> =
            places.iter().map(|place| plan.column(place.given.column).sql_name.as_str()).collect();
        let head = format!("INSERT INTO {} ({}) VALUES ", plan.sql_table, names.join(", "));
        Self { places, head, tail, style }
    }

    /// The statement of as many of these rows as the size allows; and how many those are.
    pub fn statement(&self, rows: &[usize], size: Size) -> Result<(Vec<u8>, usize), Refusal> {
        let mut sql = self.head.clone().into_bytes();
        let fixed = self.head.len() + self.tail.len();
        let filled = fill(&mut sql, rows, size, fixed, |row, sql| {
            sql.push(b'(');
            for (number, place) in self.places.iter().enumerate() {
                if number > 0 {
                    sql.push(b',');
                }
                place.cells(row).write_or_refuse(row, self.style, sql)?;
            }
            sql.push(b')');
            Ok(())
        });
        let count = filled.map_err(|(row, overflow)| match overflow {
            Overflow::Refused(refusal) => refusal,
            Overflow::Bytes(bytes) => {
                let cells = self.places.iter().map(|place| place.cells(row));
                too_large(cells, row, bytes, self.style)
            }
        })?;
        sql.extend_from_slice(self.tail.as_bytes());
        Ok((sql, count))
    }
}

impl<'a> Place<'a> {
    fn cells(&self, row: usize) -> &Cells<'a> {
        match &self.stand_in {
            Some(stand_in) if !self.given.series.is_given(row) => stand_in,
            _ => &self.given,
        }
    }

    /// Whether some row has more than the server's own default.
    fn is_needed(&self, plan: &Plan, rows: usize) -> bool {
        let has_sql = matches!(plan.column(self.given.column).absent, Absent::Sql(_));
        let given = self.given.series.given.as_ref();
        has_sql || self.stand_in.is_some() || given.is_none_or(|given| given.null_count() < rows)
    }
}

/// ` ON DUPLICATE KEY UPDATE a = VALUES(a)`: what a row of that shape sets in one that is there.
///
/// None where the clause can't say it: it assigns one after the other, and knows of a row only what
/// is inserted.
pub fn on_duplicate_key(plan: &Plan, slice: &Slice, like: usize, alias: bool) -> Option<String> {
    let columns = set_by(plan, slice, like);
    if plan.assignments.len() > 1 || columns.is_empty() && plan.assignments.is_empty() {
        return None;
    }
    let mut sql = String::new();
    if alias {
        let _ = write!(sql, " AS {NEW}");
    }
    let new = |column: usize| {
        let name = &plan.column(column).sql_name;
        if alias { format!("{NEW}.{name}") } else { format!("VALUES({name})") }
    };
    sql.push_str(" ON DUPLICATE KEY UPDATE ");
    let mut separator = "";
    let table = &plan.sql_table;
    // First, so that it sees what is there.
    for (name, expression) in &plan.assignments {
        let _ = write!(sql, "{table}.{name} = ");
        write_expression(&mut sql, expression, new);
        separator = ", ";
    }
    for position in columns {
        let column = plan.column(position);
        let _ = write!(sql, "{separator}{table}.{} = ", column.sql_name);
        match (column.role, &column.absent) {
            (Role::Update, Absent::Sql(expression)) => sql.push_str(expression),
            (Role::Update, _) => return None,
            _ => sql.push_str(&new(position)),
        }
        separator = ", ";
    }
    Some(sql)
}

fn write_expression(sql: &mut String, expression: &Expression, new: impl Fn(usize) -> String) {
    for piece in expression {
        match piece {
            Piece::Sql(text) => sql.push_str(text),
            Piece::Given(column) => sql.push_str(&new(*column)),
        }
    }
}

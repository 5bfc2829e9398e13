//! INSERT statements of an upsert, whose rows leave columns to defaults of several sorts.

use std::fmt::Write;

use super::keyed::{LARGEST, Overflow, fill, set_by, shapes, too_large};
use super::sql::{Cells, Refusal, Size, missing};
use super::text::Style;
use crate::plan::{Absent, Column, Expression, Piece, Plan, Role};
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

/// What `LAST_INSERT_ID()` tells of the rows that were there; above that, of `ECHO_BITS` bits,
/// stands the number.
#[derive(Clone, Copy)]
pub enum Echo {
    /// A bit for each.
    Bits(u64),
    /// How many they are.
    Count(u64),
}

/// What an INSERT does with rows that are there.
pub struct OnDuplicateKey<'a> {
    pub plan: &'a Plan,
    pub slice: &'a Slice,
    /// The rows of the statement.
    pub rows: &'a [usize],
    /// New rows have a name.
    pub alias: bool,
    pub echo: Option<Echo>,
    /// A row that is there with another key is an error: it clashes with another unique key.
    pub guarded: bool,
    /// A row that is there is locked, and stays as it is.
    pub keeps: bool,
    pub style: Style<'a>,
}

/// As many rows can be told.
const ECHO_BITS: u32 = 48;

impl OnDuplicateKey<'_> {
    /// ` ON DUPLICATE KEY UPDATE a = VALUES(a)`.
    ///
    /// None where the clause can't say it: it is the same for all rows, assigns one after the
    /// other, and knows of a row only what is inserted.
    pub fn write(&self) -> Result<Option<String>, Refusal> {
        let Some(mut assigned) = self.assigned() else { return Ok(None) };
        let Some((_, first)) = assigned.first_mut() else { return Ok(None) };
        let value = first.clone();
        if let Some(echo) = self.echo {
            *first = format!("IF(LAST_INSERT_ID({}), {value}, {value})", self.told(echo)?);
        }
        if self.guarded {
            // Not with AND: MariaDB works out the constants in it before there are any rows.
            *first = format!("IF({LARGEST} + (NOT ({})), {first}, {value})", self.same_key());
        }
        let table = &self.plan.sql_table;
        let mut sql = if self.alias { format!(" AS {NEW}") } else { String::new() };
        for (number, (name, value)) in assigned.iter().enumerate() {
            let begin = if number == 0 { " ON DUPLICATE KEY UPDATE" } else { "," };
            let _ = write!(sql, "{begin} {table}.{name} = {value}");
        }
        Ok(Some(sql))
    }

    /// Columns and what they are set to.
    fn assigned(&self) -> Option<Vec<(&str, String)>> {
        let Self { plan, slice, rows, .. } = *self;
        if self.keeps {
            let (_, key) = plan.key().next()?;
            return Some(vec![(&key.sql_name, format!("{}.{}", plan.sql_table, key.sql_name))]);
        }
        if shapes(plan, slice, rows).len() > 1 || plan.assignments.len() > 1 {
            return None;
        }
        let mut assigned = Vec::new();
        // First, so that they see what is there.
        for (name, expression) in &plan.assignments {
            assigned.push((name.as_str(), self.expression(expression)));
        }
        for position in set_by(plan, slice, *rows.first()?) {
            let column = plan.column(position);
            let value = match (column.role, &column.absent) {
                (Role::Update, Absent::Sql(expression)) => expression.clone(),
                (Role::Update, _) => return None,
                _ => self.given(position),
            };
            assigned.push((column.sql_name.as_str(), value));
        }
        Some(assigned)
    }

    fn given(&self, column: usize) -> String {
        let name = &self.plan.column(column).sql_name;
        if self.alias { format!("{NEW}.{name}") } else { format!("VALUES({name})") }
    }

    /// Whether the row that is there is the one that the call means.
    fn same_key(&self) -> String {
        let table = &self.plan.sql_table;
        let equal = |(position, column): (usize, &Column)| {
            format!("{table}.{} <=> {}", column.sql_name, self.given(position))
        };
        self.plan.key().map(equal).collect::<Vec<_>>().join(" AND ")
    }

    fn expression(&self, expression: &Expression) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Sql(text) => text.clone(),
            Piece::Given(column) => self.given(*column),
        };
        expression.iter().map(piece).collect()
    }

    /// What `LAST_INSERT_ID()` has of this statement, and what is added for a row that is there.
    fn told(&self, echo: Echo) -> Result<String, Refusal> {
        let (Echo::Bits(number) | Echo::Count(number)) = echo;
        if self.rows.len() == 1 {
            // Where it is worked out at all.
            return Ok(((number << ECHO_BITS) + 1).to_string());
        }
        let mut sql = format!(
            "IF(LAST_INSERT_ID() >> {ECHO_BITS} = {number}, LAST_INSERT_ID(), \
             {number} << {ECHO_BITS}) "
        );
        if matches!(echo, Echo::Count(_)) {
            return Ok(sql + "+ 1");
        }
        sql.push_str("| CASE");
        let key: Vec<_> = self.plan.key().map(|(column, _)| column).collect();
        for (bit, &row) in self.rows.iter().enumerate() {
            for (number, &column) in key.iter().enumerate() {
                let mut literal = Vec::new();
                let cells = Cells::new(self.plan, self.slice, column, b"NULL");
                cells.write_or_refuse(row, self.style, &mut literal)?;
                let _ = write!(
                    sql,
                    " {} {}.{} = {}",
                    if number == 0 { "WHEN" } else { "AND" },
                    self.plan.sql_table,
                    self.plan.column(column).sql_name,
                    String::from_utf8_lossy(&literal)
                );
            }
            let _ = write!(sql, " THEN {}", 1_u64 << bit);
        }
        sql.push_str(" ELSE 0 END");
        Ok(sql)
    }
}

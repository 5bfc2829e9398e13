//! The text of statements.

use std::fmt::Write as _;
use std::ops::Range;

use arrow_buffer::NullBuffer;
use pyo3::prelude::*;

use super::encode::Field;
use super::text::{Style, write_int};
use crate::plan::{Absent, Column, Plan, Role};
use crate::slice::Slice;
use crate::values::Series;

/// `INSERT INTO t (a, b) VALUES (%s, %s)`: the statement of a row that gives all columns.
pub fn mysql_insert_sql(plan: &Plan) -> String {
    let is_stored = |column: &&Column| matches!(column.role, Role::Key | Role::Value);
    let columns = || plan.columns.iter().map(Py::get).filter(is_stored);
    let names: Vec<_> = columns().map(|column| column.sql_name.as_str()).collect();
    let values: Vec<_> = columns().map(|column| column.value_sql("%s")).collect();
    format!("INSERT INTO {} ({}) VALUES ({})", plan.sql_table, names.join(", "), values.join(", "))
}

/// Why a statement can't be made.
#[derive(Debug)]
pub enum Refusal {
    /// A value has no literal.
    Value { row: usize, column: usize, reason: &'static str },
    /// One row alone is larger than a statement may be; most of it is this column's value.
    Row { row: usize, column: usize, bytes: usize },
}

/// How large a statement may be, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// No row is begun beyond this.
    pub wanted: usize,
    /// The server takes no more.
    pub limit: usize,
}

/// A column as it stands in each row of a statement.
pub struct Cells<'a> {
    pub column: usize,
    pub series: &'a Series,
    field: Field<'a>,
    /// The SQL around and between the value, as often as the mapped type wants it.
    around: &'a [String],
    /// What stands where a row gives no value.
    missing: &'a [u8],
}

/// The INSERT statements of a slice.
pub struct Insert<'a> {
    cells: Vec<Cells<'a>>,
    head: String,
    tail: String,
    style: Style<'a>,
}

impl<'a> Insert<'a> {
    /// `generated` is the position of the auto-increment column.
    pub fn new(
        plan: &'a Plan,
        slice: &'a Slice,
        generated: Option<usize>,
        returning: bool,
        style: Style<'a>,
    ) -> Self {
        let cells: Vec<_> = (0..slice.columns.len())
            .filter(|&column| has_place(plan, slice, column))
            .map(|column| Cells::new(plan, slice, column, missing(plan, column, generated)))
            .collect();
        let names: Vec<_> =
            cells.iter().map(|cells| plan.column(cells.column).sql_name.as_str()).collect();
        let head = format!("INSERT INTO {} ({}) VALUES ", plan.sql_table, names.join(", "));
        let mut tail = plan.tail.clone();
        if returning && !plan.returning.is_empty() {
            let _ = write!(tail, " RETURNING {}", plan.returning.join(", "));
        }
        Self { cells, head, tail, style }
    }

    /// `INSERT INTO t (a, b) VALUES (1,'x'),(2,DEFAULT)` for as many of these rows as the size
    /// allows; gives the row after them.
    pub fn statement(&self, rows: Range<usize>, size: Size) -> Result<(Vec<u8>, usize), Refusal> {
        let limit = size.limit.saturating_sub(self.tail.len());
        let mut sql = Vec::with_capacity(size.wanted.min(limit) + size.wanted / 8);
        sql.extend_from_slice(self.head.as_bytes());
        let mut next = rows.start;
        while next < rows.end && (next == rows.start || sql.len() < size.wanted) {
            let end = sql.len();
            if next > rows.start {
                sql.push(b',');
            }
            self.write_row(next, &mut sql)?;
            if sql.len() > limit {
                if next == rows.start {
                    return Err(self.too_large(next, sql.len() - self.head.len()));
                }
                sql.truncate(end);
                break;
            }
            next += 1;
        }
        sql.extend_from_slice(self.tail.as_bytes());
        Ok((sql, next))
    }

    /// `ROW(0,'a'),ROW(1,'b')`: these rows' numbers and their values of some columns, all of which
    /// they give.
    pub fn keys(&self, rows: Range<usize>, columns: &[usize]) -> Result<Vec<u8>, Refusal> {
        let mut sql = Vec::new();
        for row in rows.clone() {
            sql.extend_from_slice(if row == rows.start { b"ROW(" } else { b",ROW(" });
            write_int((row - rows.start) as i64, &mut sql);
            for &column in columns {
                let Some(cells) = self.cells.iter().find(|cells| cells.column == column) else {
                    continue;
                };
                sql.push(b',');
                cells.write_or_refuse(row, self.style, &mut sql)?;
            }
            sql.push(b')');
        }
        Ok(sql)
    }

    fn write_row(&self, row: usize, sql: &mut Vec<u8>) -> Result<(), Refusal> {
        sql.push(b'(');
        for (position, cells) in self.cells.iter().enumerate() {
            if position > 0 {
                sql.push(b',');
            }
            cells.write_or_refuse(row, self.style, sql)?;
        }
        sql.push(b')');
        Ok(())
    }

    fn too_large(&self, row: usize, bytes: usize) -> Refusal {
        let length = |cells: &&Cells<'_>| cells.length(row, self.style);
        let column = self.cells.iter().max_by_key(length).map_or(0, |cells| cells.column);
        Refusal::Row { row, column, bytes }
    }
}

impl<'a> Cells<'a> {
    /// `missing` stands where a row gives no value.
    pub fn new(plan: &'a Plan, slice: &'a Slice, column: usize, missing: &'a [u8]) -> Self {
        let series = &slice.columns[column];
        let field = Field::new(series, plan.column(column));
        Self { column, series, field, around: &plan.column(column).placeholder, missing }
    }

    pub fn write_or_refuse(
        &self,
        row: usize,
        style: Style<'_>,
        sql: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let refused = |reason| Refusal::Value { row, column: self.column, reason };
        self.write(row, style, sql).map_err(refused)
    }

    /// Bytes of the row's literal.
    pub fn length(&self, row: usize, style: Style<'_>) -> usize {
        let mut literal = Vec::new();
        self.write(row, style, &mut literal).map_or(0, |()| literal.len())
    }

    #[inline]
    fn write(&self, row: usize, style: Style<'_>, sql: &mut Vec<u8>) -> Result<(), &'static str> {
        if !self.series.is_given(row) {
            sql.extend_from_slice(self.missing);
            return Ok(());
        }
        for (position, around) in self.around.iter().enumerate() {
            if position > 0 {
                self.write_value(row, style, sql)?;
            }
            sql.extend_from_slice(around.as_bytes());
        }
        Ok(())
    }

    #[inline]
    fn write_value(
        &self,
        row: usize,
        style: Style<'_>,
        sql: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        if self.series.is_null(row) {
            sql.extend_from_slice(b"NULL");
            return Ok(());
        }
        self.field.write(row, style, sql)
    }
}

/// Whether the column stands in the statements: some row gives it, or its default is ours.
fn has_place(plan: &Plan, slice: &Slice, column: usize) -> bool {
    let missing = slice.columns[column].given.as_ref().map_or(0, NullBuffer::null_count);
    missing < slice.rows || matches!(plan.column(column).absent, Absent::Sql(_))
}

/// The server's own default, by its keyword; but of an auto-increment column that is 0, which
/// generates no value under `NO_AUTO_VALUE_ON_ZERO`. NULL always does.
pub fn missing(plan: &Plan, column: usize, generated: Option<usize>) -> &[u8] {
    match &plan.column(column).absent {
        Absent::Sql(default) => default.as_bytes(),
        _ if generated == Some(column) => b"NULL",
        _ => b"DEFAULT",
    }
}

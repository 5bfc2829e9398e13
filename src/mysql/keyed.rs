//! Statements about rows that their keys find: they join the given rows, as a table of VALUES, or
//! are about one row and have its values written out.

use std::collections::HashMap;

use super::sql::{Cells, Refusal, Size};
use super::text::{Style, write_int};
use crate::plan::{Absent, Expression, Piece, Plan, Role, Verb};
use crate::slice::Slice;

/// What the given rows are called in a statement.
const GIVEN: &str = "fastbulk_given";

/// One more is out of range, which is an error in every mode of the server.
pub const LARGEST: u64 = u64::MAX;

/// SQL around values: position 0 is the one that the row gives, 1 the one that is there.
pub type Template = Vec<Piece>;

/// What the server's columns make of values that come out of a table of VALUES, by the position of
/// the plan's column.
pub struct Templates {
    /// The given value as one of the column's own type and collation.
    pub typed: Vec<Template>,
    /// Whether the given value is another one than what is there.
    pub differs: Vec<Template>,
}

/// How the given values stand in a statement.
#[derive(Clone, Copy)]
enum Values<'a> {
    /// As columns of a joined table.
    Joined,
    /// Written out, those of this row.
    Alone { cells: &'a [Cells<'a>], row: usize, style: Style<'a> },
    /// As parameters.
    Example,
}

/// The text of a statement; where rows are joined, they stand between the head and the rest.
pub struct Statement {
    head: Vec<u8>,
    tail: Vec<u8>,
    /// The columns that each row gives.
    columns: Vec<usize>,
    /// Whether it joins rows.
    joins: bool,
}

/// The statements of a plan on one server.
pub struct Statements<'a> {
    pub plan: &'a Plan,
    pub templates: &'a Templates,
    /// What stands before each row of VALUES.
    pub row_word: &'a str,
    /// The index that finds the rows.
    pub index: Option<&'a str>,
    pub style: Style<'a>,
}

/// A statement being written.
struct Text<'a> {
    of: &'a Statements<'a>,
    values: Values<'a>,
    sql: Vec<u8>,
    columns: Vec<usize>,
    /// Where the joined rows will stand.
    rows_at: Option<usize>,
}

type Result<T> = std::result::Result<T, Refusal>;

impl Statements<'_> {
    /// `SELECT n, <meets the condition>, <would change> ... FOR UPDATE`: the rows that are there.
    ///
    /// `like` is a row whose columns are those that all of them give; alone, it is the one.
    pub fn look(&self, slice: &Slice, like: usize, alone: bool, lock: bool) -> Result<Statement> {
        self.statement(slice, like, alone, |text| {
            text.push(&format!("SELECT {GIVEN}.n, "));
            match &self.plan.condition {
                None => text.push("1"),
                Some(condition) => {
                    text.push("COALESCE((");
                    text.expression(condition)?;
                    text.push("), 0)");
                }
            }
            text.push(", ");
            text.changes(slice, like)?;
            text.push(" FROM ");
            text.table(true)?;
            text.push(if lock { " FOR UPDATE" } else { "" });
            Ok(())
        })
    }

    /// `UPDATE ... SET` of what the row `like` gives, in every row that is there. What it sets is
    /// computed from rows as they are before: a joined table is.
    pub fn update(&self, slice: &Slice, like: usize, alone: bool) -> Result<Statement> {
        self.statement(slice, like, alone, |text| {
            let is_simple = alone && self.plan.assignments.len() < 2;
            text.push("UPDATE ");
            if is_simple {
                text.push(&self.plan.sql_table);
            } else {
                text.table(true)?;
            }
            text.push(" SET ");
            text.sets(slice, like)?;
            if is_simple {
                text.push(" WHERE ");
                text.key(true)?;
            }
            text.condition(is_simple)
        })
    }

    /// The same without a condition, of all rows or none: it is refused if one is not there.
    pub fn update_all(&self, slice: &Slice, like: usize) -> Result<Statement> {
        self.statement(slice, like, false, |text| {
            text.push("UPDATE ");
            text.joined("LEFT JOIN", true)?;
            text.push(" SET ");
            text.sets(slice, like)?;
            if let Some((_, key)) = self.plan.key().next() {
                text.push(&format!(" WHERE {LARGEST} + ("));
                text.name(&key.sql_name);
                text.push(" IS NULL)");
            }
            Ok(())
        })
    }

    pub fn delete(&self, slice: &Slice, like: usize, alone: bool) -> Result<Statement> {
        self.statement(slice, like, alone, |text| {
            let table = &self.plan.sql_table;
            if alone {
                text.push(&format!("DELETE FROM {table} WHERE "));
                text.key(true)?;
            } else {
                text.push(&format!("DELETE {table} FROM "));
                text.table(true)?;
            }
            text.condition(alone)
        })
    }

    /// What is returned of each row, and the row's number.
    pub fn back(&self, slice: &Slice, like: usize, alone: bool) -> Result<Statement> {
        self.statement(slice, like, alone, |text| {
            let returning = self.plan.returning.join(", ");
            text.push(&format!("SELECT {returning}, {GIVEN}.n FROM "));
            text.table(false)?;
            text.push(" FOR UPDATE");
            Ok(())
        })
    }

    /// The numbers of rows in the order of their keys, with numbers that equal keys share.
    pub fn ranks(&self, slice: &Slice) -> Result<Statement> {
        self.statement(slice, 0, false, |text| {
            text.push(&format!("SELECT {GIVEN}.n, DENSE_RANK() OVER (ORDER BY "));
            for (number, (column, _)) in self.plan.key().enumerate() {
                text.push(if number == 0 { "" } else { ", " });
                text.typed(column)?;
            }
            text.push(") FROM ");
            text.rows();
            text.push(" ORDER BY 2, 1");
            Ok(())
        })
    }

    fn statement(
        &self,
        slice: &Slice,
        row: usize,
        alone: bool,
        write: impl FnOnce(&mut Text<'_>) -> Result<()>,
    ) -> Result<Statement> {
        let cells = if alone { self.cells(slice) } else { Vec::new() };
        let values = if alone {
            Values::Alone { cells: &cells, row, style: self.style }
        } else {
            Values::Joined
        };
        let mut text =
            Text { of: self, values, sql: Vec::new(), columns: Vec::new(), rows_at: None };
        write(&mut text)?;
        Ok(text.finish())
    }

    fn cells<'s>(&'s self, slice: &'s Slice) -> Vec<Cells<'s>> {
        let columns = 0..slice.columns.len();
        columns.map(|column| Cells::new(self.plan, slice, column, b"NULL")).collect()
    }

    /// The statement with as many of these rows as the size allows; and how many those are.
    pub fn fill(
        &self,
        statement: &Statement,
        slice: &Slice,
        rows: &[usize],
        size: Size,
    ) -> Result<(Vec<u8>, usize)> {
        if !statement.joins {
            return Ok((statement.head.clone(), 1));
        }
        let cells: Vec<_> = statement
            .columns
            .iter()
            .map(|&column| Cells::new(self.plan, slice, column, b"NULL"))
            .collect();
        let fixed = statement.head.len() + statement.tail.len();
        let mut sql = Vec::with_capacity(size.wanted + size.wanted / 8);
        sql.extend_from_slice(&statement.head);
        let filled = fill(&mut sql, rows, size, fixed, |row, sql| {
            sql.extend_from_slice(self.row_word.as_bytes());
            sql.push(b'(');
            write_int(row as i64, sql);
            for cells in &cells {
                sql.push(b',');
                cells.write_or_refuse(row, self.style, sql)?;
            }
            sql.push(b')');
            Ok(())
        });
        let rows = filled.map_err(|(row, bytes)| match bytes {
            Overflow::Refused(refusal) => refusal,
            Overflow::Bytes(bytes) => too_large(cells.iter(), row, bytes, self.style),
        })?;
        sql.extend_from_slice(&statement.tail);
        Ok((sql, rows))
    }
}

/// Why a row is not in a statement.
pub enum Overflow {
    Refused(Refusal),
    /// It alone has so many bytes.
    Bytes(usize),
}

/// Appends rows with commas in between, as many as the size allows; `fixed` bytes of the statement
/// are something else.
pub fn fill(
    sql: &mut Vec<u8>,
    rows: &[usize],
    size: Size,
    fixed: usize,
    mut write: impl FnMut(usize, &mut Vec<u8>) -> Result<()>,
) -> std::result::Result<usize, (usize, Overflow)> {
    let begin = sql.len();
    let limit = size.limit.saturating_sub(fixed);
    for (number, &row) in rows.iter().enumerate() {
        let end = sql.len();
        if number > 0 {
            if end - begin >= size.wanted {
                return Ok(number);
            }
            sql.push(b',');
        }
        write(row, sql).map_err(|refusal| (row, Overflow::Refused(refusal)))?;
        if sql.len() - begin > limit {
            if number == 0 {
                return Err((row, Overflow::Bytes(sql.len() - begin)));
            }
            sql.truncate(end);
            return Ok(number);
        }
    }
    Ok(rows.len())
}

pub fn too_large<'a, 'd: 'a>(
    cells: impl Iterator<Item = &'a Cells<'d>>,
    row: usize,
    bytes: usize,
    style: Style<'_>,
) -> Refusal {
    let column = cells.max_by_key(|cells| cells.length(row, style));
    Refusal::Row { row, column: column.map_or(0, |cells| cells.column), bytes }
}

/// What a row sets in one that is there: the columns of its values, and of what stands in for
/// those that it leaves out.
pub fn set_by(plan: &Plan, slice: &Slice, row: usize) -> Vec<usize> {
    let is_given = |column: usize| slice.columns[column].is_given(row);
    let mut columns: Vec<_> = match &plan.conflict {
        Some(conflict) => conflict.updates.iter().copied().filter(|&c| is_given(c)).collect(),
        None => plan.columns_of(Role::Value).map(|(c, _)| c).filter(|&c| is_given(c)).collect(),
    };
    let stand_ins = || plan.columns_of(Role::Update);
    if columns.is_empty()
        && plan.assignments.is_empty()
        && stand_ins().all(|(_, column)| column.instead_of.is_some())
    {
        return columns;
    }
    let given = columns.clone();
    columns.extend(
        stand_ins()
            .filter(|(_, column)| column.instead_of.is_none_or(|main| !given.contains(&main)))
            .map(|(column, _)| column),
    );
    columns
}

/// Rows by what they set, each with whether that is anything.
pub fn shapes(plan: &Plan, slice: &Slice, rows: &[usize]) -> Vec<(bool, Vec<usize>)> {
    let mut places: HashMap<Vec<usize>, usize> = HashMap::new();
    let mut shapes: Vec<(bool, Vec<usize>)> = Vec::new();
    let is_even = slice.columns.iter().all(|series| series.given.is_none());
    for &row in rows {
        if is_even && let Some((_, rows)) = shapes.first_mut() {
            rows.push(row);
            continue;
        }
        let columns = set_by(plan, slice, row);
        let sets = !columns.is_empty() || !plan.assignments.is_empty();
        let place = *places.entry(columns).or_insert_with(|| {
            shapes.push((sets, Vec::new()));
            shapes.len() - 1
        });
        shapes[place].1.push(row);
    }
    shapes
}

impl Text<'_> {
    fn push(&mut self, sql: &str) {
        self.sql.extend_from_slice(sql.as_bytes());
    }

    fn finish(mut self) -> Statement {
        let joins = self.rows_at.is_some();
        let tail = self.rows_at.map_or_else(Vec::new, |at| self.sql.split_off(at));
        if joins {
            self.push("((SELECT NULL AS n");
            for column in self.columns.clone() {
                self.push(&format!(", NULL AS c{column}"));
            }
            self.push(" LIMIT 0) UNION ALL VALUES ");
        }
        Statement { head: self.sql, tail, columns: self.columns, joins }
    }

    /// The given value as it is.
    fn value(&mut self, column: usize) -> Result<()> {
        match self.values {
            Values::Joined => {
                if !self.columns.contains(&column) {
                    self.columns.push(column);
                }
                self.push(&format!("{GIVEN}.c{column}"));
            }
            Values::Alone { cells, row, style } => {
                cells[column].write_or_refuse(row, style, &mut self.sql)?;
            }
            Values::Example => {
                let sql = self.of.plan.column(column).value_sql("%s");
                self.push(&sql);
            }
        }
        Ok(())
    }

    /// The given value with the column's own type, which a literal takes by itself.
    fn typed(&mut self, column: usize) -> Result<()> {
        match self.values {
            Values::Joined => self.template(&self.of.templates.typed[column], column),
            Values::Alone { .. } | Values::Example => self.value(column),
        }
    }

    fn template(&mut self, template: &Template, column: usize) -> Result<()> {
        for piece in template {
            match piece {
                Piece::Sql(sql) => self.push(sql),
                Piece::Given(0) => self.value(column)?,
                Piece::Given(_) => self.name(&self.of.plan.column(column).sql_name),
            }
        }
        Ok(())
    }

    fn expression(&mut self, expression: &Expression) -> Result<()> {
        for piece in expression {
            match piece {
                Piece::Sql(sql) => self.push(sql),
                Piece::Given(column) => self.typed(*column)?,
            }
        }
        Ok(())
    }

    /// A column of the row that is there.
    fn name(&mut self, sql_name: &str) {
        let name = format!("{}.{sql_name}", self.of.plan.sql_table);
        self.push(&name);
    }

    /// The given rows.
    fn rows(&mut self) {
        match self.values {
            Values::Joined => {
                self.rows_at = Some(self.sql.len());
                self.push(")");
            }
            Values::Alone { row, .. } => self.push(&format!("(SELECT {row} AS n)")),
            Values::Example => self.push("(SELECT 0 AS n)"),
        }
        self.push(&format!(" AS {GIVEN}"));
    }

    /// The given rows and those that their keys find; with the version that they expect, too.
    fn table(&mut self, expected: bool) -> Result<()> {
        self.joined("STRAIGHT_JOIN", expected)
    }

    fn joined(&mut self, join: &str, expected: bool) -> Result<()> {
        self.rows();
        self.push(&format!(" {join} {}", self.of.plan.sql_table));
        if let Some(index) = self.of.index {
            self.push(&format!(" FORCE INDEX ({index})"));
        }
        self.push(" ON ");
        self.key(expected)
    }

    fn key(&mut self, expected: bool) -> Result<()> {
        let plan = self.of.plan;
        let matches = plan.columns_of(Role::Match).filter(|_| expected);
        for (number, (column, key)) in plan.key().chain(matches).enumerate() {
            self.push(if number == 0 { "" } else { " AND " });
            self.name(&key.sql_name);
            self.push(" = ");
            self.typed(column)?;
        }
        Ok(())
    }

    fn condition(&mut self, has_where: bool) -> Result<()> {
        let Some(condition) = &self.of.plan.condition else { return Ok(()) };
        // An upsert's was asked of the rows before.
        if self.of.plan.verb == Verb::Upsert {
            return Ok(());
        }
        self.push(if has_where { " AND (" } else { " WHERE (" });
        self.expression(condition)?;
        self.push(")");
        Ok(())
    }

    /// The assignments of expressions; gives what separates them from others.
    fn assignments(&mut self) -> Result<&'static str> {
        let mut separator = "";
        for (name, expression) in &self.of.plan.assignments {
            self.push(separator);
            self.name(name);
            self.push(" = ");
            self.expression(expression)?;
            separator = ", ";
        }
        Ok(separator)
    }

    /// Expressions come first: where the server assigns one after the other, they see what is
    /// there.
    fn sets(&mut self, slice: &Slice, like: usize) -> Result<()> {
        let plan = self.of.plan;
        let mut separator = self.assignments()?;
        for column in set_by(plan, slice, like) {
            self.push(separator);
            self.name(&plan.column(column).sql_name);
            self.push(" = ");
            match (plan.column(column).role, &plan.column(column).absent) {
                (Role::Update, Absent::Sql(sql)) => self.push(sql),
                _ => self.value(column)?,
            }
            separator = ", ";
        }
        Ok(())
    }

    /// Whether the row would be another one afterwards; 1 where that does not matter.
    fn changes(&mut self, slice: &Slice, like: usize) -> Result<()> {
        let plan = self.of.plan;
        if !plan.conflict.as_ref().is_some_and(|conflict| conflict.only_changed) {
            self.push("1");
            return Ok(());
        }
        self.push("(0");
        for column in set_by(plan, slice, like) {
            if plan.column(column).role == Role::Update && plan.column(column).instead_of.is_some()
            {
                continue;
            }
            self.push(" OR ");
            self.template(&self.of.templates.differs[column], column)?;
        }
        for (name, expression) in &plan.assignments {
            self.push(" OR NOT (");
            self.name(name);
            self.push(" <=> (");
            self.expression(expression)?;
            self.push("))");
        }
        self.push(")");
        Ok(())
    }
}

/// The statement of one row that gives every column, with parameters.
pub fn example(plan: &Plan) -> String {
    let templates = Templates { typed: Vec::new(), differs: Vec::new() };
    let of = Statements {
        plan,
        templates: &templates,
        row_word: "",
        index: None,
        style: Style::default(),
    };
    let mut text = Text {
        of: &of,
        values: Values::Example,
        sql: Vec::new(),
        columns: Vec::new(),
        rows_at: None,
    };
    let written = if plan.verb == Verb::Delete {
        text.push(&format!("DELETE FROM {} WHERE ", plan.sql_table));
        text.key(true).and_then(|()| text.condition(true))
    } else {
        text.example_update()
    };
    written.map(|()| String::from_utf8_lossy(&text.sql).into_owned()).unwrap_or_default()
}

impl Text<'_> {
    fn example_update(&mut self) -> Result<()> {
        let plan = self.of.plan;
        self.push(&format!("UPDATE {} SET ", plan.sql_table));
        let mut separator = self.assignments()?;
        for (column, value) in plan.columns_of(Role::Value) {
            self.push(separator);
            self.name(&value.sql_name);
            self.push(" = ");
            self.value(column)?;
            separator = ", ";
        }
        self.push(" WHERE ");
        self.key(true)?;
        self.condition(true)
    }
}

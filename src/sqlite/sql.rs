//! The text of statements.

use std::fmt::Write;

use pyo3::prelude::*;

use crate::output::Action;
use crate::plan::{Absent, Column, Conflict, Expression, Piece, Plan, Role, Verb};

/// How a column stands in a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Left out.
    Out,
    /// A parameter.
    Bound,
    /// The column's own SQL expression.
    Expression,
}

/// How each column of the plan stands in a statement.
pub type Shape = Vec<Place>;

/// `INSERT INTO t (a, b) VALUES (?, ?), ... RETURNING id` for that many rows.
///
/// A shape without any column has `DEFAULT VALUES`, which takes one row.
pub fn insert(plan: &Plan, shape: &[Place], rows: usize) -> String {
    let Some(mut sql) = insert_into(plan, shape) else {
        return format!("INSERT INTO {} DEFAULT VALUES{}", plan.sql_table, returning(plan));
    };
    let row = row(plan, shape);
    let _ = write!(sql, "VALUES {row}");
    for _ in 1..rows {
        sql.push_str(", ");
        sql.push_str(&row);
    }
    sql.push_str(&plan.tail);
    sql + &returning(plan)
}

/// `INSERT INTO t (a, b) SELECT c0, c1 FROM rows`, for a shape of parameters alone.
pub fn insert_from(plan: &Plan, shape: &[Place], table: &str, with_returning: bool) -> String {
    let values: Vec<_> = (0..shape.len())
        .filter(|&column| shape[column] == Place::Bound)
        .map(|column| plan.column(column).value_sql(&format!("{table}.c{column}")))
        .collect();
    let returning = if with_returning { returning(plan) } else { String::new() };
    let into = insert_into(plan, shape).unwrap_or_default();
    // Without the condition SQLite would take ON for a join's.
    let tail = if plan.tail.is_empty() { "" } else { &format!(" WHERE true{}", plan.tail) };
    format!("{into}SELECT {} FROM {table}{tail}{returning}", values.join(", "))
}

/// `INSERT INTO t (a, b) `; None without columns.
fn insert_into(plan: &Plan, shape: &[Place]) -> Option<String> {
    let names: Vec<_> = present(plan, shape).map(|(column, _)| column.sql_name.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    Some(format!("INSERT INTO {} ({}) ", plan.sql_table, names.join(", ")))
}

fn returning(plan: &Plan) -> String {
    if plan.returning.is_empty() {
        return String::new();
    }
    format!(" RETURNING {}", plan.returning.join(", "))
}

fn row(plan: &Plan, shape: &[Place]) -> String {
    let cells: Vec<_> = present(plan, shape)
        .map(|(column, place)| match (&column.absent, place) {
            (Absent::Sql(sql), Place::Expression) => sql.clone(),
            _ => column.value_sql("?"),
        })
        .collect();
    format!("({})", cells.join(", "))
}

fn present<'a>(plan: &'a Plan, shape: &'a [Place]) -> impl Iterator<Item = (&'a Column, Place)> {
    placed(shape).map(|(position, place)| (plan.column(position), place))
}

fn placed(shape: &[Place]) -> impl Iterator<Item = (usize, Place)> {
    shape.iter().copied().enumerate().filter(|(_, place)| *place != Place::Out)
}

/// Whether the name is a table of its schema (not of a temporary one) that has no trigger.
pub fn is_plain_table(plan: &Plan) -> String {
    let schema = plan.schema.as_deref().unwrap_or("main").replace('"', "\"\"");
    format!(
        "SELECT count(*) FROM \"{schema}\".sqlite_master AS t \
         WHERE type = 'table' AND lower(name) = lower(?1) \
         AND NOT EXISTS (SELECT 1 FROM \"{schema}\".sqlite_master \
                         WHERE type = 'trigger' AND lower(tbl_name) = lower(?1)) \
         AND NOT EXISTS (SELECT 1 FROM sqlite_temp_master WHERE lower(tbl_name) = lower(?1))"
    )
}

/// A statement whose parameter `?n` is the value of the column at position `n - 1`.
#[derive(Default)]
pub struct RowSql {
    pub text: String,
    /// The columns that it takes.
    pub columns: Vec<usize>,
}

impl RowSql {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// The row's value of that column.
    fn value(&mut self, plan: &Plan, column: usize) {
        let mark = format!("?{}", column + 1);
        self.push(&plan.column(column).value_sql(&mark));
        if !self.columns.contains(&column) {
            self.columns.push(column);
        }
    }

    fn expression(&mut self, plan: &Plan, expression: &Expression) {
        for piece in expression {
            match piece {
                Piece::Sql(sql) => self.push(sql),
                Piece::Given(column) => self.value(plan, *column),
            }
        }
    }

    /// `a = ?1 AND b = ?2`: the row with that key.
    fn key(&mut self, plan: &Plan) {
        for (number, (column, key)) in plan.key().enumerate() {
            self.push(if number == 0 { " WHERE " } else { " AND " });
            self.push(&key.sql_name);
            self.push(" = ");
            self.value(plan, column);
        }
    }

    /// The row with that key and version.
    fn expected_row(&mut self, plan: &Plan) {
        self.key(plan);
        for (column, value) in plan.columns_of(Role::Match) {
            self.push(&format!(" AND {} = ", value.sql_name));
            self.value(plan, column);
        }
    }

    /// The row with that key and version, if it is as the plan wants it.
    fn row(&mut self, plan: &Plan) {
        self.expected_row(plan);
        if let Some(condition) = &plan.condition {
            self.push(" AND (");
            self.expression(plan, condition);
            self.push(")");
        }
    }
}

/// `UPDATE t SET a = ?2 WHERE id = ?1` for a row that gives those columns; None where there is
/// nothing to set.
pub fn update(plan: &Plan, given: &[bool]) -> Option<RowSql> {
    let values = || plan.columns_of(Role::Value).filter(|(column, _)| given[*column]);
    if values().next().is_none() && plan.assignments.is_empty() && always(plan).next().is_none() {
        return None;
    }
    let mut sql = RowSql::default();
    let _ = write!(sql.text, "UPDATE {} SET ", plan.sql_table);
    let mut separator = "";
    for (column, value) in values() {
        let _ = write!(sql.text, "{separator}{} = ", value.sql_name);
        sql.value(plan, column);
        separator = ", ";
    }
    for (column, value) in plan.columns_of(Role::Update) {
        if value.instead_of.is_some_and(|main| given[main]) {
            continue;
        }
        let _ = write!(sql.text, "{separator}{} = ", value.sql_name);
        sql.own_value(plan, column);
        separator = ", ";
    }
    for (name, expression) in &plan.assignments {
        let _ = write!(sql.text, "{separator}{name} = ");
        sql.expression(plan, expression);
        separator = ", ";
    }
    sql.row(plan);
    Some(sql)
}

/// What is set in every row: a version id, or a value for all.
fn always(plan: &Plan) -> impl Iterator<Item = (usize, &Column)> {
    plan.columns_of(Role::Update).filter(|(_, value)| value.instead_of.is_none())
}

pub fn delete(plan: &Plan) -> RowSql {
    let mut sql = RowSql { text: format!("DELETE FROM {}", plan.sql_table), columns: Vec::new() };
    sql.row(plan);
    sql.push(&returning(plan));
    sql
}

/// A row where the key finds one with the version that is expected, whatever else it holds.
pub fn exists(plan: &Plan) -> RowSql {
    let text = format!("SELECT 1 FROM {}", plan.sql_table);
    let mut sql = RowSql { text, columns: Vec::new() };
    sql.expected_row(plan);
    sql
}

/// What is returned of the row that the key finds.
pub fn read_back(plan: &Plan) -> RowSql {
    let text = format!("SELECT {} FROM {}", plan.returning.join(", "), plan.sql_table);
    let mut sql = RowSql { text, columns: Vec::new() };
    sql.key(plan);
    sql
}

/// `INSERT INTO t (a, b) VALUES (?1, ?2) ON CONFLICT (a) DO UPDATE SET b = excluded.b RETURNING id`
/// for a row of that shape; it returns the primary key, if wanted.
pub fn upsert(plan: &Plan, conflict: &Conflict, shape: &[Place], with_returning: bool) -> RowSql {
    let mut sql = RowSql::default();
    match insert_into(plan, shape) {
        None => {
            let _ = write!(sql.text, "INSERT INTO {} DEFAULT VALUES", plan.sql_table);
        }
        Some(into) => {
            sql.push(&into);
            sql.push("VALUES (");
            for (number, (column, place)) in placed(shape).enumerate() {
                sql.push(if number == 0 { "" } else { ", " });
                match (&plan.column(column).absent, place) {
                    (Absent::Sql(text), Place::Expression) => sql.push(text),
                    _ => sql.value(plan, column),
                }
            }
            sql.push(")");
            sql.conflict(plan, conflict, shape);
        }
    }
    if with_returning {
        let _ = write!(sql.text, " RETURNING {}", conflict.primary_key.join(", "));
    }
    sql
}

/// The same for all rows of a table of slices, and what it does with rows that are there. None if
/// it takes values of a row in another place.
pub fn upsert_from(
    plan: &Plan,
    conflict: &Conflict,
    shape: &[Place],
    table: &str,
) -> Option<(String, Action)> {
    if shape.contains(&Place::Expression) || !shape.contains(&Place::Bound) {
        return None;
    }
    let mut sql = RowSql::default();
    sql.push(&insert_from(plan, shape, table, false));
    sql.push(" WHERE 1"); // else ON would begin a join's condition
    let otherwise = sql.conflict(plan, conflict, shape);
    sql.columns.is_empty().then_some((sql.text, otherwise))
}

impl RowSql {
    /// The ON CONFLICT clause; what it does with a row that is there.
    fn conflict(&mut self, plan: &Plan, conflict: &Conflict, shape: &[Place]) -> Action {
        let _ = write!(self.text, " ON CONFLICT {} DO ", conflict.target);
        let given = |column: &usize| shape[*column] == Place::Bound;
        let updates: Vec<_> = conflict.updates.iter().copied().filter(given).collect();
        let sets_more = !plan.assignments.is_empty() || always(plan).next().is_some();
        if updates.is_empty() && !sets_more {
            self.push("NOTHING");
            return Action::Unchanged;
        }
        self.push("UPDATE SET ");
        let mut separator = "";
        for &column in &updates {
            let name = &plan.column(column).sql_name;
            let _ = write!(self.text, "{separator}{name} = excluded.{name}");
            separator = ", ";
        }
        for (column, value) in plan.columns_of(Role::Update) {
            if value.instead_of.is_some_and(|main| updates.contains(&main)) {
                continue;
            }
            let _ = write!(self.text, "{separator}{} = ", value.sql_name);
            self.own_value(plan, column);
            separator = ", ";
        }
        for (name, expression) in &plan.assignments {
            let _ = write!(self.text, "{separator}{name} = ");
            self.over_excluded(plan, expression);
            separator = ", ";
        }
        self.conflict_condition(plan, conflict, &updates);
        Action::Updated
    }

    fn conflict_condition(&mut self, plan: &Plan, conflict: &Conflict, updates: &[usize]) {
        let mut separator = " WHERE ";
        if let Some(condition) = &plan.condition {
            self.push(separator);
            self.push("(");
            self.over_excluded(plan, condition);
            self.push(")");
            separator = " AND ";
        }
        if !conflict.only_changed {
            return;
        }
        self.push(separator);
        self.push("(");
        let table = &plan.sql_table;
        let mut separator = "";
        for &column in updates {
            let name = &plan.column(column).sql_name;
            let _ = write!(self.text, "{separator}{table}.{name} IS NOT excluded.{name}");
            separator = " OR ";
        }
        for (column, value) in always(plan) {
            let _ = write!(self.text, "{separator}{table}.{} IS NOT ", value.sql_name);
            self.own_value(plan, column);
            separator = " OR ";
        }
        for (name, expression) in &plan.assignments {
            let _ = write!(self.text, "{separator}{table}.{name} IS NOT (");
            self.over_excluded(plan, expression);
            self.push(")");
            separator = " OR ";
        }
        self.push(")");
    }

    /// The default of a column: its SQL, or the value that the row has for it.
    fn own_value(&mut self, plan: &Plan, column: usize) {
        match &plan.column(column).absent {
            Absent::Sql(text) => self.push(text),
            Absent::Null | Absent::Omit | Absent::Value(_) | Absent::Call(_) => {
                self.value(plan, column);
            }
        }
    }

    /// An expression over the row that is there and the one that was to be inserted.
    fn over_excluded(&mut self, plan: &Plan, expression: &Expression) {
        for piece in expression {
            match piece {
                Piece::Sql(sql) => self.push(sql),
                Piece::Given(column) => {
                    let _ = write!(self.text, "excluded.{}", plan.column(*column).sql_name);
                }
            }
        }
    }
}

/// The primary key of the row with which a row would conflict.
pub fn landed(plan: &Plan, conflict: &Conflict) -> RowSql {
    let text = format!("SELECT {} FROM {}", conflict.primary_key.join(", "), plan.sql_table);
    let mut sql = RowSql { text, columns: Vec::new() };
    sql.key(plan);
    if let Some(condition) = &conflict.key_where {
        let _ = write!(sql.text, " AND ({condition})");
    }
    sql
}

/// What is returned of the row with that primary key, whose values are parameters in its order.
pub fn read_landed(plan: &Plan, conflict: &Conflict) -> String {
    let key: Vec<_> = conflict.primary_key.iter().map(|name| format!("{name} = ?")).collect();
    let returning = plan.returning.join(", ");
    format!("SELECT {returning} FROM {} WHERE {}", plan.sql_table, key.join(" AND "))
}

/// A write of no rows.
pub fn write_nothing(plan: &Plan) -> String {
    let column = plan.columns.first().map_or("rowid", |column| &column.get().sql_name);
    format!("INSERT INTO {} ({column}) SELECT NULL WHERE 0", plan.sql_table)
}

/// A row for a column of an index that is not compared byte by byte.
pub const OTHER_COLLATIONS: &str = "SELECT 1 FROM pragma_index_list(?1, ?2) AS i \
     CROSS JOIN pragma_index_xinfo(i.name, ?2) AS c WHERE c.key AND upper(c.coll) <> 'BINARY'";

/// A row for a table without rowids: it is its primary key's index itself.
pub const WITHOUT_ROWID: &str = "SELECT 1 FROM pragma_index_info(?1, ?2)";

/// The key of the rows with these rowids.
pub fn keys_of_rowids(plan: &Plan, column: usize) -> String {
    let key = &plan.column(column).sql_name;
    format!("SELECT {key}, rowid FROM {} WHERE rowid IN (?1, ?2)", plan.sql_table)
}

/// Names of the columns that have a default in the database or are computed by it.
pub const COLUMNS_WITH_DEFAULT: &str = "SELECT name FROM pragma_table_xinfo(?1, ?2) \
     WHERE dflt_value IS NOT NULL OR hidden <> 0";

/// A row where foreign keys are checked and one of the table's refers to the table.
pub const REFERS_TO_ITSELF: &str = "SELECT 1 FROM pragma_foreign_keys AS k \
     CROSS JOIN pragma_foreign_key_list(?1, ?2) AS l \
     WHERE k.foreign_keys AND lower(l.\"table\") = lower(?1)";

/// The statement of one row that gives every column which the database does not make itself.
#[pyfunction]
pub fn sqlite_example_sql(plan: &Plan) -> String {
    let shape: Shape = plan
        .columns
        .iter()
        .map(|column| match (column.get().role, &column.get().absent) {
            (Role::Default | Role::Update | Role::Input, _) => Place::Out,
            (_, Absent::Sql(_)) => Place::Expression,
            (_, Absent::Omit) if plan.verb == Verb::Insert => Place::Out,
            _ => Place::Bound,
        })
        .collect();
    match (plan.verb, &plan.conflict) {
        (Verb::Upsert, Some(conflict)) => upsert(plan, conflict, &shape, false).text,
        (Verb::Insert | Verb::Upsert, _) => insert(plan, &shape, 1),
        (Verb::Update, _) => update(plan, &vec![true; shape.len()]).unwrap_or_default().text,
        (Verb::Delete, _) => delete(plan).text,
    }
}

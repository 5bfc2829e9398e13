//! The text of statements.

use std::fmt::Write;

use pyo3::prelude::*;

use crate::plan::{Absent, Plan};

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
    sql + &returning(plan)
}

/// `INSERT INTO t (a, b) SELECT c0, c1 FROM fastbulk_rows`, for a shape of parameters alone.
pub fn insert_from(plan: &Plan, shape: &[Place], table: &str, with_returning: bool) -> String {
    let values: Vec<_> = (0..shape.len())
        .filter(|&column| shape[column] == Place::Bound)
        .map(|column| plan.column(column).value_sql(&format!("{table}.c{column}")))
        .collect();
    let returning = if with_returning { returning(plan) } else { String::new() };
    let into = insert_into(plan, shape).unwrap_or_default();
    format!("{into}SELECT {} FROM {table}{returning}", values.join(", "))
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

fn present<'a>(
    plan: &'a Plan,
    shape: &'a [Place],
) -> impl Iterator<Item = (&'a crate::plan::Column, Place)> {
    shape
        .iter()
        .enumerate()
        .filter(|(_, place)| **place != Place::Out)
        .map(|(position, place)| (plan.column(position), *place))
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
pub fn sqlite_insert_sql(plan: &Plan) -> String {
    let shape: Shape = plan
        .columns
        .iter()
        .map(|column| match column.get().absent {
            Absent::Sql(_) => Place::Expression,
            Absent::Omit => Place::Out,
            Absent::Null | Absent::Value(_) | Absent::Call(_) => Place::Bound,
        })
        .collect();
    insert(plan, &shape, 1)
}

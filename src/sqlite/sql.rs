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
    let mut sql = format!("INSERT INTO {}", plan.sql_table);
    let names: Vec<_> = present(plan, shape).map(|(column, _)| column.sql_name.as_str()).collect();
    if names.is_empty() {
        sql.push_str(" DEFAULT VALUES");
    } else {
        let row = row(plan, shape);
        let _ = write!(sql, " ({}) VALUES {row}", names.join(", "));
        for _ in 1..rows {
            sql.push_str(", ");
            sql.push_str(&row);
        }
    }
    if !plan.returning.is_empty() {
        let _ = write!(sql, " RETURNING {}", plan.returning.join(", "));
    }
    sql
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

/// Names of the columns that have a default in the database or are computed by it.
pub const COLUMNS_WITH_DEFAULT: &str = "SELECT name FROM pragma_table_xinfo(?1, ?2) \
     WHERE dflt_value IS NOT NULL OR hidden <> 0";

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

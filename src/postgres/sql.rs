//! The text of statements.

use std::fmt::Write;
use std::ops::Range;

use arrow_buffer::NullBuffer;
use pyo3::FromPyObject;

use super::text::{element_type, write_array, write_given, write_literal};
use crate::plan::{Absent, Plan};
use crate::slice::Slice;

/// What the catalog says of a column.
#[derive(Debug, FromPyObject)]
pub struct Target {
    /// The type's name in `pg_type`, a domain's base type's, or `enum`; None where binary bytes
    /// may not be sent.
    pub binary_type: Option<String>,
    /// The column's own type, without its length or scale.
    pub own_type: Option<String>,
    /// The mapped type casts its parameter, so that its text needs no other cast.
    pub has_cast: bool,
    /// The SQL that makes the column's value where a row gives none.
    pub default: Option<String>,
}

/// How a column of a slice stands in a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Out,
    /// Sent for every row; what a row leaves out is NULL.
    Sent,
    /// Sent with a mask: what a row leaves out is the default.
    Masked,
    /// The default, for all rows.
    Default,
}

pub fn place(plan: &Plan, slice: &Slice, targets: &[Target], column: usize) -> Place {
    let missing = slice.columns[column].given.as_ref().map_or(0, NullBuffer::null_count);
    let has_default =
        matches!(plan.column(column).absent, Absent::Sql(_)) || targets[column].default.is_some();
    match (missing, &plan.column(column).absent) {
        (0, _) => Place::Sent,
        (missing, Absent::Sql(_)) if missing == slice.rows => Place::Default,
        (missing, _) if missing == slice.rows => Place::Out,
        _ if has_default => Place::Masked,
        _ => Place::Sent,
    }
}

/// `COPY t (a, b) FROM STDIN (FORMAT BINARY)`
pub fn copy(plan: &Plan, columns: &[usize]) -> String {
    let names: Vec<_> = columns.iter().map(|&c| plan.column(c).sql_name.as_str()).collect();
    format!("COPY {} ({}) FROM STDIN (FORMAT BINARY)", plan.sql_table, names.join(", "))
}

/// `INSERT INTO t (a) SELECT v.c0::INTEGER FROM unnest(E'{1,2}'::int8[]) WITH ORDINALITY ...` for
/// these rows of the slice; fails with the (row, column) of a text that has a NUL byte.
pub fn insert(
    plan: &Plan,
    slice: &Slice,
    targets: &[Target],
    rows: Range<usize>,
) -> Result<String, (usize, usize)> {
    let places: Vec<_> =
        (0..slice.columns.len()).map(|column| place(plan, slice, targets, column)).collect();
    let mut names = Vec::new();
    let mut expressions = Vec::new();
    let mut arrays = String::new();
    let mut aliases = String::new();
    for (column, &place) in places.iter().enumerate() {
        if place == Place::Out {
            continue;
        }
        names.push(plan.column(column).sql_name.as_str());
        expressions.push(expression(plan, slice, &targets[column], column, place));
        if place == Place::Default {
            continue;
        }
        let series = &slice.columns[column];
        arrays.push_str("E'");
        write_array(series, rows.clone(), &mut arrays).map_err(|row| (row, column))?;
        let _ = write!(arrays, "'::{}[], ", element_type(series));
        let _ = write!(aliases, "c{column}, ");
        if place == Place::Masked {
            arrays.push_str("E'");
            write_given(series, rows.clone(), &mut arrays);
            arrays.push_str("'::bool[], ");
            let _ = write!(aliases, "g{column}, ");
        }
    }
    let mut sql = format!("INSERT INTO {}", plan.sql_table);
    if !names.is_empty() {
        let _ = write!(sql, " ({})", names.join(", "));
    }
    let arrays = arrays.trim_end_matches(", ");
    if arrays.is_empty() {
        // No row gives anything: as many rows as there are, each of defaults.
        let _ = write!(
            sql,
            " SELECT {} FROM generate_series(1, {}) AS v(n)",
            expressions.join(", "),
            rows.len()
        );
    } else {
        let _ = write!(
            sql,
            " SELECT {} FROM unnest({arrays}) WITH ORDINALITY AS v({aliases}n)",
            expressions.join(", "),
        );
    }
    sql.push_str(" ORDER BY v.n");
    push_end(plan, &mut sql);
    Ok(sql)
}

/// `INSERT INTO t (a, b) VALUES (1, E'x'), (2, DEFAULT)` for a slice of few rows: it needs nothing
/// of the catalog. `only` leaves one column. Fails as [`insert`] does.
pub fn values(
    plan: &Plan,
    slice: &Slice,
    rows: Range<usize>,
    only: Option<usize>,
) -> Result<String, (usize, usize)> {
    let missing =
        |column: usize| slice.columns[column].given.as_ref().map_or(0, NullBuffer::null_count);
    let columns: Vec<_> = (0..slice.columns.len())
        .filter(|&column| only.is_none_or(|only| only == column))
        .filter(|&column| {
            missing(column) < slice.rows || matches!(plan.column(column).absent, Absent::Sql(_))
        })
        .collect();
    let mut sql = format!("INSERT INTO {}", plan.sql_table);
    if columns.is_empty() {
        let _ = write!(sql, " SELECT FROM generate_series(1, {})", rows.len());
    } else {
        let names: Vec<_> = columns.iter().map(|&c| plan.column(c).sql_name.as_str()).collect();
        let _ = write!(sql, " ({}) VALUES ", names.join(", "));
        let first = rows.start;
        for row in rows {
            sql.push_str(if row == first { "(" } else { ", (" });
            for (position, &column) in columns.iter().enumerate() {
                if position > 0 {
                    sql.push_str(", ");
                }
                write_value(plan, slice, row, column, &mut sql).map_err(|()| (row, column))?;
            }
            sql.push(')');
        }
    }
    push_end(plan, &mut sql);
    Ok(sql)
}

/// What a statement says after its rows.
fn push_end(plan: &Plan, sql: &mut String) {
    sql.push_str(&plan.tail);
    if !plan.returning.is_empty() {
        let _ = write!(sql, " RETURNING {}", plan.returning.join(", "));
    }
}

fn write_value(
    plan: &Plan,
    slice: &Slice,
    row: usize,
    column: usize,
    sql: &mut String,
) -> Result<(), ()> {
    let series = &slice.columns[column];
    if series.is_given(row) {
        let mut literal = String::new();
        write_literal(series.get(row), &mut literal)?;
        sql.push_str(&plan.column(column).value_sql(&literal));
        return Ok(());
    }
    sql.push_str(match &plan.column(column).absent {
        Absent::Sql(default) => default,
        _ => "DEFAULT",
    });
    Ok(())
}

fn expression(plan: &Plan, slice: &Slice, target: &Target, column: usize, place: Place) -> String {
    let own = match &plan.column(column).absent {
        Absent::Sql(sql) => Some(sql.as_str()),
        _ => target.default.as_deref(),
    };
    let default = own.unwrap_or("NULL");
    if place == Place::Default {
        return default.to_owned();
    }
    let mut value = format!("v.c{column}");
    let own_type = target.own_type.as_deref().map(|own| format!("::{own}")).unwrap_or_default();
    if !target.has_cast && element_type(&slice.columns[column]) == "text" {
        value.push_str(&own_type);
    }
    let value = plan.column(column).value_sql(&value);
    match place {
        // Both branches need one type; it has no length, which the assignment checks.
        Place::Masked => {
            format!("CASE WHEN v.g{column} THEN ({value}){own_type} ELSE ({default}){own_type} END")
        }
        _ => value,
    }
}

//! Keys of a slice, compared here as the database compares them.

use std::cmp::Ordering;

use super::bind::Handle;
use super::catalog::Catalog;
use super::encode::Encoded;
use super::error::Result;
use crate::plan::{Column, Plan};
use crate::slice::Slice;

/// Keys of which the database holds two for equal if and only if they are equal here.
pub struct Keys<'d> {
    columns: Vec<&'d Encoded<'d>>,
    rows: usize,
}

impl<'d> Keys<'d> {
    /// None where the database may think otherwise: it compares by another collation, converts
    /// what it is given, or meets NULLs.
    pub fn comparable(
        handle: Handle<'_>,
        plan: &Plan,
        slice: &Slice,
        encoded: &'d [Encoded<'d>],
    ) -> Result<Option<Self>> {
        let mut columns = Vec::new();
        for (position, column) in plan.key() {
            let values = &encoded[position];
            if slice.columns[position].validity.is_some()
                || !is_kept_as_it_is(handle, plan, column, values)
            {
                return Ok(None);
            }
            columns.push(values);
        }
        let has_text = columns.iter().any(|values| matches!(values, Encoded::Text(_)));
        if has_text && !Catalog::new(handle, plan).compares_bytes()? {
            return Ok(None);
        }
        Ok(Some(Self { columns, rows: slice.rows }))
    }

    /// The rows in the order of their keys; rows of one key stay in their order.
    pub fn order(&self) -> Vec<usize> {
        let mut rows: Vec<_> = (0..self.rows).collect();
        match self.columns.as_slice() {
            [Encoded::Int(values)] => rows.sort_by_key(|&row| values[row]),
            _ => rows.sort_by(|&a, &b| self.compare(a, b)),
        }
        rows
    }

    /// Of rows in that order, those whose key is that of the row before.
    pub fn repeated(&self, order: &[usize]) -> Vec<usize> {
        let pairs = order.windows(2).filter(|pair| self.compare(pair[0], pair[1]).is_eq());
        pairs.map(|pair| pair[1]).collect()
    }

    pub fn compare(&self, a: usize, b: usize) -> Ordering {
        let mut orders = self.columns.iter().map(|values| match values {
            Encoded::Int(values) => values[a].cmp(&values[b]),
            Encoded::Text(values) => values.get(a).cmp(values.get(b)),
            Encoded::Fixed { width, data } => {
                data[a * width..][..*width].cmp(&data[b * width..][..*width])
            }
            Encoded::Bool(_) | Encoded::Float(_) | Encoded::Bytes(_) | Encoded::Dynamic(_) => {
                Ordering::Equal // not comparable
            }
        });
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

/// Whether different values of the slice are different in that column.
fn is_kept_as_it_is(
    handle: Handle<'_>,
    plan: &Plan,
    column: &Column,
    values: &Encoded<'_>,
) -> bool {
    let bare = column.placeholder.iter().all(String::is_empty) && column.placeholder.len() == 2;
    let Some((declared, collation)) =
        handle.column_type(plan.schema.as_deref(), &plan.table, &column.name)
    else {
        return false;
    };
    let affinity = Affinity::of(&declared);
    bare && match values {
        Encoded::Int(_) => affinity != Affinity::Real,
        Encoded::Text(_) | Encoded::Fixed { width: UUID, .. } => {
            collation.eq_ignore_ascii_case("BINARY")
                && matches!(affinity, Affinity::Text | Affinity::Blob)
        }
        // Dates and times look like no number, and have no letters.
        Encoded::Fixed { .. } => true,
        Encoded::Bool(_) | Encoded::Float(_) | Encoded::Bytes(_) | Encoded::Dynamic(_) => false,
    }
}

/// The width of a UUID's text, which may look like a number.
const UUID: usize = 32;

/// What a column makes of the values that it is given
/// (<https://sqlite.org/datatype3.html#determination_of_column_affinity>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Affinity {
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

impl Affinity {
    fn of(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
        if has(&["INT"]) {
            Self::Integer
        } else if has(&["CHAR", "CLOB", "TEXT"]) {
            Self::Text
        } else if declared.is_empty() || has(&["BLOB"]) {
            Self::Blob
        } else if has(&["REAL", "FLOA", "DOUB"]) {
            Self::Real
        } else {
            Self::Numeric
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinities_are_those_of_the_documentation() {
        assert_eq!(Affinity::of("BIGINT"), Affinity::Integer);
        assert_eq!(Affinity::of("VARCHAR(20)"), Affinity::Text);
        assert_eq!(Affinity::of("FLOATING POINT"), Affinity::Integer);
        assert_eq!(Affinity::of(""), Affinity::Blob);
        assert_eq!(Affinity::of("double precision"), Affinity::Real);
        assert_eq!(Affinity::of("NUMERIC(10, 2)"), Affinity::Numeric);
    }
}

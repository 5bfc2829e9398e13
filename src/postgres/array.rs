//! Columns as parameters: arrays in the server's binary format.

use arrow_buffer::NullBuffer;

use super::encode::{Field, null};
use crate::values::{Series, Values};

/// The array of these rows' values, of elements of that type; None where only its text says what
/// the values mean.
pub fn binary_array(series: &Series, type_: &str, rows: &[usize]) -> Option<Vec<u8>> {
    let field = match &series.values {
        Values::Json(texts) => Field::Text(texts),
        _ => Field::new(series, type_, series.validity.as_ref().map_or(0, NullBuffer::len))?,
    };
    let has_null = rows.iter().any(|&row| series.is_null(row));
    let mut out = Vec::with_capacity(20 + 16 * rows.len());
    let (dimensions, lower) = (1_i32, 1_i32);
    out.extend_from_slice(&dimensions.to_be_bytes());
    out.extend_from_slice(&i32::from(has_null).to_be_bytes());
    out.extend_from_slice(&oid(type_)?.to_be_bytes());
    out.extend_from_slice(&i32::try_from(rows.len()).ok()?.to_be_bytes());
    out.extend_from_slice(&lower.to_be_bytes());
    for &row in rows {
        if series.is_null(row) {
            null(&mut out);
        } else {
            field.write(row, &mut out).ok()?;
        }
    }
    Some(out)
}

fn oid(type_: &str) -> Option<u32> {
    Some(match type_ {
        "bool" => 16,
        "bytea" => 17,
        "int8" => 20,
        "text" => 25,
        "float8" => 701,
        "date" => 1082,
        "time" => 1083,
        "timestamp" => 1114,
        "timestamptz" => 1184,
        "numeric" => 1700,
        "uuid" => 2950,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;
    use crate::values::{Cell, SeriesBuilder};

    fn array(kind: Kind, cells: &[Cell<'_>], type_: &str) -> Option<Vec<u8>> {
        let mut builder = SeriesBuilder::new(kind, cells.len());
        for &cell in cells {
            builder.push(cell);
        }
        let rows: Vec<_> = (0..cells.len()).rev().collect();
        binary_array(&builder.finish(), type_, &rows)
    }

    #[test]
    fn elements_come_in_the_order_of_the_rows() {
        let found = array(Kind::Text, &[Cell::Null, Cell::Text("a")], "text");
        let head = [1, 1, 25, 2, 1].map(i32::to_be_bytes).concat();
        let elements = [&[0, 0, 0, 1, b'a'][..], &[255; 4]].concat();
        assert_eq!(found, Some([head, elements].concat()));
    }

    #[test]
    fn what_the_format_cannot_hold_is_none() {
        assert_eq!(array(Kind::Text, &[Cell::Text("\0")], "text"), None);
        assert_eq!(array(Kind::Dynamic, &[Cell::Text("a"), Cell::Int(1)], "text"), None);
    }
}

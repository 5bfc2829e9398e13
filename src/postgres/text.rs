//! Columns as the text of array literals: `{1,NULL,"a\"b"}`, inside `E'...'`.

use std::fmt::Write;

use crate::calendar::{MICROS_PER_DAY, civil, clock};
use crate::values::{Cell, Series, Tagged, Values};

/// The element type in which the column's values mean what they are in Python; the statement casts
/// from it.
pub fn element_type(series: &Series) -> &'static str {
    match &series.values {
        Values::Bool(_) => "bool",
        Values::Int(_) => "int8",
        Values::Float(_) => "float8",
        Values::Bytes(_) => "bytea",
        Values::Date(_) => "date",
        Values::Time(_) => "time",
        Values::Timestamp(_) => "timestamp",
        Values::Instant(_) => "timestamptz",
        Values::Uuid(_) => "uuid",
        Values::Decimal(_) => "numeric",
        Values::Dynamic(cells) if are_numbers(cells) => "float8",
        Values::Text(_) | Values::Json(_) | Values::Dynamic(_) | Values::Object(_) => "text",
    }
}

/// Whether the column has values of several shapes that no one type takes as they are.
pub fn is_mixed(series: &Series) -> bool {
    let Values::Dynamic(cells) = &series.values else { return false };
    let is_null = |row| matches!(cells.get(row), Cell::Null);
    (0..cells.len()).any(|row| !is_null(row)) && !are_numbers(cells)
}

/// Whether `double precision` takes all cells without loss, on its way to `numeric` too.
pub fn are_numbers(cells: &Tagged) -> bool {
    const EXACT: u64 = 1_000_000_000_000_000;
    let mut some = false;
    (0..cells.len()).all(|row| match cells.get(row) {
        Cell::Null => true,
        Cell::Float(_) => {
            some = true;
            true
        }
        Cell::Int(value) => {
            some = true;
            value.unsigned_abs() < EXACT
        }
        _ => false,
    }) && some
}

/// Appends `{...}` with the values of these rows, escaped for `E'...'`.
///
/// Fails with the row of a text with a NUL byte, which no text of PostgreSQL can hold.
pub fn write_array(
    series: &Series,
    rows: impl IntoIterator<Item = usize>,
    out: &mut String,
) -> Result<(), usize> {
    out.push('{');
    for (position, row) in rows.into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        write_element(series.get(row), out).map_err(|()| row)?;
    }
    out.push('}');
    Ok(())
}

/// Appends `{t,f}`: which of these rows give the column.
pub fn write_given(series: &Series, rows: impl IntoIterator<Item = usize>, out: &mut String) {
    out.push('{');
    for (position, row) in rows.into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        out.push(if series.is_given(row) { 't' } else { 'f' });
    }
    out.push('}');
}

fn write_element(cell: Cell<'_>, out: &mut String) -> Result<(), ()> {
    // Writing to a String can't fail.
    let _ = match cell {
        Cell::Null => {
            out.push_str("NULL");
            Ok(())
        }
        Cell::Bool(value) => {
            out.push_str(if value { "true" } else { "false" });
            Ok(())
        }
        Cell::Int(value) => write!(out, "{value}"),
        Cell::Float(value) => write_float(value, out),
        Cell::Text(value) | Cell::Json(value) | Cell::Decimal(value) => {
            return write_quoted(value, out);
        }
        Cell::Bytes(value) => {
            write_bytes(value, out);
            Ok(())
        }
        Cell::Date(days) => write_date(days, out),
        Cell::Time(micros) => write_time(micros, out),
        Cell::Timestamp(micros) => write_timestamp(micros, "", out),
        Cell::Instant(micros) => write_timestamp(micros, "+00", out),
        Cell::Uuid(number) => write!(out, "{number:032x}"),
    };
    Ok(())
}

/// Appends one value as an expression: `NULL`, `'1'::int8`; a text has no type of its own and takes
/// that of its column, as a driver's parameter does.
pub fn write_literal(cell: Cell<'_>, out: &mut String) -> Result<(), ()> {
    let element = match cell {
        Cell::Null => {
            out.push_str("NULL");
            return Ok(());
        }
        Cell::Text(value) | Cell::Json(value) => {
            out.push_str("E'");
            for character in value.chars() {
                match character {
                    '\0' => return Err(()),
                    '\'' => out.push_str("''"),
                    '\\' => out.push_str("\\\\"),
                    other => out.push(other),
                }
            }
            out.push('\'');
            return Ok(());
        }
        Cell::Bytes(value) => {
            out.push_str("E'\\\\x");
            push_hex(value, out);
            out.push_str("'::bytea");
            return Ok(());
        }
        Cell::Bool(_) => "bool",
        Cell::Int(_) => "int8",
        Cell::Float(_) => "float8",
        Cell::Date(_) => "date",
        Cell::Time(_) => "time",
        Cell::Timestamp(_) => "timestamp",
        Cell::Instant(_) => "timestamptz",
        Cell::Uuid(_) => "uuid",
        Cell::Decimal(_) => "numeric",
    };
    let mut text = String::new();
    write_element(cell, &mut text)?;
    let _ = write!(out, "'{}'::{element}", text.trim_matches('"'));
    Ok(())
}

fn write_float(value: f64, out: &mut String) -> std::fmt::Result {
    if value.is_nan() {
        out.write_str("NaN")
    } else if value.is_infinite() {
        out.write_str(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        write!(out, "{value:e}")
    }
}

/// Quotes and backslashes are escaped for the array, and backslashes once more for `E'...'`.
fn write_quoted(value: &str, out: &mut String) -> Result<(), ()> {
    out.push('"');
    for character in value.chars() {
        match character {
            '\0' => return Err(()),
            '\'' => out.push_str("''"),
            '"' => out.push_str("\\\\\""),
            '\\' => out.push_str("\\\\\\\\"),
            other => out.push(other),
        }
    }
    out.push('"');
    Ok(())
}

/// `\x00ff`, escaped twice.
fn write_bytes(value: &[u8], out: &mut String) {
    out.push_str("\"\\\\\\\\x");
    push_hex(value, out);
    out.push('"');
}

fn push_hex(value: &[u8], out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in value {
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

fn write_date(days: i32, out: &mut String) -> std::fmt::Result {
    if let i32::MIN | i32::MAX = days {
        return out.write_str(if days < 0 { "-infinity" } else { "infinity" });
    }
    let (year, month, day) = civil(days);
    write!(out, "{year:04}-{month:02}-{day:02}")
}

fn write_time(micros: i64, out: &mut String) -> std::fmt::Result {
    let (hour, minute, second, micro) = clock(micros);
    write!(out, "{hour:02}:{minute:02}:{second:02}.{micro:06}")
}

fn write_timestamp(micros: i64, zone: &str, out: &mut String) -> std::fmt::Result {
    if let i64::MIN | i64::MAX = micros {
        return out.write_str(if micros < 0 { "-infinity" } else { "infinity" });
    }
    out.push('"');
    write_date(micros.div_euclid(MICROS_PER_DAY) as i32, out)?;
    out.push(' ');
    write_time(micros.rem_euclid(MICROS_PER_DAY), out)?;
    out.write_str(zone)?;
    out.push('"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;
    use crate::values::SeriesBuilder;

    fn array(cells: &[Cell<'_>]) -> Result<String, usize> {
        let mut builder = SeriesBuilder::new(Kind::Dynamic, cells.len());
        for &cell in cells {
            builder.push(cell);
        }
        let mut out = String::new();
        write_array(&builder.finish(), 0..cells.len(), &mut out).map(|()| out)
    }

    #[test]
    fn elements_are_escaped_for_the_array_and_for_the_literal() {
        let cells = [Cell::Text("it's"), Cell::Text("a\"b\\c"), Cell::Null, Cell::Text("NULL")];
        let expected = r#"{"it''s","a\\"b\\\\c",NULL,"NULL"}"#;
        assert_eq!(array(&cells).as_deref(), Ok(expected));
        assert_eq!(array(&[Cell::Bytes(b"\x00\xff")]).as_deref(), Ok(r#"{"\\\\x00ff"}"#));
    }

    #[test]
    fn numbers_and_times() {
        let cells = [Cell::Float(0.1), Cell::Float(f64::NEG_INFINITY)];
        assert_eq!(array(&cells).as_deref(), Ok("{1e-1,-Infinity}"));
        assert_eq!(
            array(&[Cell::Instant(0)]).as_deref(),
            Ok("{\"1970-01-01 00:00:00.000000+00\"}")
        );
    }

    #[test]
    fn nul_is_refused_with_its_row() {
        assert_eq!(array(&[Cell::Text("a"), Cell::Text("\0")]), Err(1));
    }
}

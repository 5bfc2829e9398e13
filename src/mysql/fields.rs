//! Values without SQL around them: what LOAD DATA reads and the bulk protocol takes.
//!
//! A literal says what it is, a field is a string and a parameter nearly so. They mean the same
//! only for some pairs of a value and the server's type of the column.

use arrow_buffer::{BooleanBuffer, NullBuffer};
use mysql_async::Value;
use pyo3::FromPyObject;

use super::text::{
    Result, Style, push_date, push_hex, push_time, push_timestamp, write_decimal, write_float,
    write_int,
};
use crate::kind::Kind;
use crate::plan::{Absent, Column, Plan};
use crate::slice::Slice;
use crate::values::{Series, Strings, Values};

/// The values of one column of a slice; what is not given is NULL.
pub struct Field<'a> {
    series: &'a Series,
    values: Shape<'a>,
}

enum Shape<'a> {
    Bool(&'a BooleanBuffer),
    Int(&'a [i64]),
    Float(&'a [f64]),
    Text(&'a Strings),
    Bytes(&'a Strings),
    Date(&'a [i32]),
    Time(&'a [i64]),
    Timestamp(&'a [i64]),
    UuidHex(&'a [u128]),
    Decimal(&'a Strings),
}

/// What the server says of a column.
#[derive(FromPyObject)]
pub struct Stored {
    /// In lower case, without its length.
    type_name: String,
    /// A row that gives nothing gets NULL there, or a generated key, which is the same to INSERT.
    absent_is_null: bool,
}

/// The columns of a statement: positions in the plan, and their values.
pub type Fields<'a> = Vec<(usize, Field<'a>)>;

/// The columns that the rows of a slice give, or why they are sent as literals. `stored` are the
/// plan's columns.
pub fn fields<'a>(plan: &Plan, slice: &'a Slice, stored: &[Stored]) -> Result<Fields<'a>, String> {
    let mut found = Vec::new();
    for (position, (series, stored)) in slice.columns.iter().zip(stored).enumerate() {
        let column = plan.column(position);
        let missing = series.given.as_ref().map_or(0, NullBuffer::null_count);
        let has_sql = matches!(column.absent, Absent::Sql(_));
        if missing == slice.rows && !has_sql {
            continue;
        }
        if missing > 0 && (has_sql || !stored.absent_is_null) {
            return Err(format!("not every row gives {}", column.name));
        }
        if column.placeholder.iter().any(|around| !around.is_empty()) {
            return Err(format!("the type of {} has SQL around its values", column.name));
        }
        let values = Shape::of(series, column, &stored.type_name)
            .ok_or_else(|| format!("{} takes these values as literals", column.name))?;
        found.push((position, Field { series, values }));
    }
    if found.is_empty() { Err("the rows give nothing".to_owned()) } else { Ok(found) }
}

impl<'a> Shape<'a> {
    /// The shape of values that a column of that type takes alike from a literal and from a string.
    fn of(series: &'a Series, column: &Column, stored: &str) -> Option<Self> {
        let text = is_text(stored);
        let integer = matches!(stored, "tinyint" | "smallint" | "mediumint" | "int" | "bigint");
        let float = matches!(stored, "float" | "double");
        let number = integer || float || stored == "decimal";
        let temporal = matches!(stored, "date" | "time" | "datetime" | "timestamp");
        match &series.values {
            Values::Bool(values) => (number || text).then_some(Self::Bool(values)),
            Values::Int(values) => (number || text).then_some(Self::Int(values)),
            Values::Float(values) => float.then_some(Self::Float(values)),
            Values::Decimal(values) => (stored == "decimal").then_some(Self::Decimal(values)),
            Values::Text(values) => {
                (text || temporal || is_choice(stored)).then_some(Self::Text(values))
            }
            Values::Json(values) => (text || stored == "json").then_some(Self::Text(values)),
            Values::Bytes(values) => is_binary(stored).then_some(Self::Bytes(values)),
            Values::Date(values) => (text || temporal).then_some(Self::Date(values)),
            Values::Time(values) => (text || temporal).then_some(Self::Time(values)),
            Values::Timestamp(values) => (text || temporal).then_some(Self::Timestamp(values)),
            Values::Uuid(values) => {
                let hex = column.kind == Kind::Uuid && column.processor.is_some();
                (hex && (text || stored == "uuid")).then_some(Self::UuidHex(values))
            }
            Values::Instant(_) | Values::Dynamic(_) | Values::Object(_) => None,
        }
    }

    fn is_bytes(&self) -> bool {
        matches!(self, Self::Bytes(_))
    }

    /// Appends the characters of a value.
    fn push(&self, row: usize, out: &mut Vec<u8>) -> Result {
        match self {
            Self::Bool(values) => out.push(if values.value(row) { b'1' } else { b'0' }),
            Self::Int(values) => write_int(values[row], out),
            Self::Float(values) => {
                write_float(values[row], Style { avoid: None, plain_floats: true }, out)?;
            }
            Self::Text(values) | Self::Bytes(values) => out.extend_from_slice(values.get(row)),
            Self::Date(values) => push_date(values[row], out),
            Self::Time(values) => push_time(values[row], out),
            Self::Timestamp(values) => push_timestamp(values[row], out),
            Self::UuidHex(values) => push_hex(&values[row].to_be_bytes(), out),
            Self::Decimal(values) => {
                write_decimal(std::str::from_utf8(values.get(row)).unwrap_or_default(), out)?;
            }
        }
        Ok(())
    }
}

fn is_text(stored: &str) -> bool {
    matches!(stored, "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext")
}

fn is_choice(stored: &str) -> bool {
    matches!(stored, "enum" | "set" | "json" | "uuid" | "inet4" | "inet6")
}

fn is_binary(stored: &str) -> bool {
    matches!(stored, "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob")
}

impl Field<'_> {
    /// Whether LOAD DATA reads hexadecimal digits.
    pub fn is_hex(&self) -> bool {
        self.values.is_bytes()
    }

    /// Appends a field as LOAD DATA reads it.
    #[inline]
    pub fn write_line(&self, row: usize, out: &mut Vec<u8>) -> Result {
        if self.series.is_null(row) {
            out.extend_from_slice(b"\\N");
            return Ok(());
        }
        match &self.values {
            Shape::Text(values) => push_escaped(values.get(row), out),
            Shape::Bytes(values) => push_hex(values.get(row), out),
            other => other.push(row, out)?,
        }
        Ok(())
    }

    /// The value as a parameter of a prepared statement.
    #[inline]
    pub fn parameter(&self, row: usize) -> Result<Value> {
        if self.series.is_null(row) {
            return Ok(Value::NULL);
        }
        Ok(match &self.values {
            Shape::Bool(values) => Value::Int(values.value(row).into()),
            Shape::Int(values) => Value::Int(values[row]),
            Shape::Float(values) if values[row].is_finite() => Value::Double(values[row]),
            other => {
                let mut text = Vec::new();
                other.push(row, &mut text)?;
                Value::Bytes(text)
            }
        })
    }
}

/// Behind a backslash stands a character as it is, but for letters and the digit 0.
fn push_escaped(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\\' | b'\t' | b'\n')) {
        out.extend_from_slice(&rest[..end]);
        out.extend_from_slice(&[b'\\', rest[end]]);
        rest = &rest[end + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_field_is_escaped() {
        for (text, expected) in [
            ("", ""),
            ("plain é😀", "plain é😀"),
            ("a\tb\nc\\d", "a\\\tb\\\nc\\\\d"),
            ("\\N", "\\\\N"),
        ] {
            let mut out = Vec::new();
            push_escaped(text.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).as_deref(), Ok(expected));
        }
    }
}

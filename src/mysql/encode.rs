//! The values of a column, each as a literal; what they are made of is asked once per column.

use arrow_buffer::BooleanBuffer;

use super::text::{
    Result, Style, write_bool, write_bytes, write_cell, write_date, write_decimal, write_float,
    write_int, write_text, write_time, write_timestamp, write_uuid_hex,
};
use crate::kind::Kind;
use crate::plan::Column;
use crate::values::{Cell, Series, Strings, Values};

/// How the values of one column are written.
pub enum Field<'a> {
    Bool(&'a BooleanBuffer),
    Int(&'a [i64]),
    Float(&'a [f64]),
    Text(&'a Strings),
    Bytes(&'a Strings),
    Date(&'a [i32]),
    Time(&'a [i64]),
    Timestamp(&'a [i64]),
    /// In a column of characters, as the mapped type's processor writes them.
    UuidHex(&'a [u128]),
    Decimal(&'a Strings),
    /// Each value says its own shape.
    Any(&'a Values),
}

impl<'a> Field<'a> {
    /// The field of that column.
    pub fn new(series: &'a Series, column: &Column) -> Self {
        match &series.values {
            Values::Bool(values) => Self::Bool(values),
            Values::Int(values) => Self::Int(values),
            Values::Float(values) => Self::Float(values),
            Values::Text(values) | Values::Json(values) => Self::Text(values),
            Values::Bytes(values) => Self::Bytes(values),
            Values::Date(values) => Self::Date(values),
            Values::Time(values) => Self::Time(values),
            Values::Timestamp(values) => Self::Timestamp(values),
            Values::Uuid(values) if column.kind == Kind::Uuid && column.processor.is_some() => {
                Self::UuidHex(values)
            }
            Values::Decimal(values) => Self::Decimal(values),
            Values::Uuid(_) | Values::Instant(_) | Values::Dynamic(_) | Values::Object(_) => {
                Self::Any(&series.values)
            }
        }
    }

    /// Writes the value at `row`, which is not NULL, or says why it can't be.
    #[inline]
    pub fn write(&self, row: usize, style: Style<'_>, out: &mut Vec<u8>) -> Result {
        match self {
            Self::Bool(values) => write_bool(values.value(row), out),
            Self::Int(values) => write_int(values[row], out),
            Self::Float(values) => write_float(values[row], style, out)?,
            Self::Text(values) => write_text(values.get(row), style, out),
            Self::Bytes(values) => write_bytes(values.get(row), out),
            Self::Date(values) => write_date(values[row], out),
            Self::Time(values) => write_time(values[row], out),
            Self::Timestamp(values) => write_timestamp(values[row], out),
            Self::UuidHex(values) => write_uuid_hex(values[row], out),
            Self::Decimal(values) => {
                write_decimal(std::str::from_utf8(values.get(row)).unwrap_or_default(), out)?;
            }
            Self::Any(values) => write_cell(values.get(row), style, out)?,
        }
        Ok(())
    }
}

/// Digits that a decimal of the server has, and those of them behind the point.
const DIGITS: usize = 65;
const SCALE: usize = 30;

/// What the literals of a column are to the server, if all of them are the same: a table of VALUES
/// has one type per column.
pub fn literal_type(series: &Series, rows: usize, column: &Column) -> Option<&'static str> {
    if !column.placeholder.iter().all(String::is_empty) || column.placeholder.len() != 2 {
        return None;
    }
    let mut types =
        (0..rows).map(|row| series.get(row)).filter(|cell| *cell != Cell::Null).map(type_of);
    match &series.values {
        Values::Bool(_) | Values::Int(_) => Some("int"),
        Values::Float(_) => Some("float"),
        Values::Text(_) | Values::Json(_) | Values::Uuid(_) => Some("text"),
        Values::Bytes(_) => Some("bytes"),
        Values::Date(_) => Some("date"),
        Values::Time(_) => Some("time"),
        Values::Timestamp(_) => Some("timestamp"),
        Values::Decimal(values) => fit(values).then_some("decimal"),
        Values::Dynamic(_) => match types.next() {
            None => Some("null"),
            Some(first) => types.all(|other| other == first).then_some(first?),
        },
        Values::Instant(_) | Values::Object(_) => None,
    }
}

fn type_of(cell: Cell<'_>) -> Option<&'static str> {
    match cell {
        Cell::Bool(_) | Cell::Int(_) => Some("int"),
        Cell::Float(_) => Some("float"),
        Cell::Text(_) | Cell::Json(_) | Cell::Uuid(_) => Some("text"),
        Cell::Bytes(_) => Some("bytes"),
        Cell::Date(_) => Some("date"),
        Cell::Time(_) => Some("time"),
        Cell::Timestamp(_) => Some("timestamp"),
        Cell::Null | Cell::Instant(_) | Cell::Decimal(_) => None,
    }
}

/// Whether one type of the server holds all these decimals.
fn fit(values: &Strings) -> bool {
    let (mut whole, mut scale) = (0, 0);
    for position in 0..values.len() {
        let text = values.get(position);
        if text.contains(&b'E') {
            return false;
        }
        let point = text.iter().position(|&byte| byte == b'.').unwrap_or(text.len());
        whole = whole.max(point);
        scale = scale.max((text.len() - point).saturating_sub(1));
    }
    scale <= SCALE && whole + scale <= DIGITS
}

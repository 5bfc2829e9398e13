//! Columns as COPY BINARY has them.
//!
//! The server believes a binary field whatever its bytes mean, so a field exists only for an exact
//! pair of the values' shape and the column's actual type.

use arrow_buffer::BooleanBuffer;

use super::numeric;
use super::text::are_numbers;
use crate::calendar::MICROS_PER_DAY;
use crate::values::{Cell, Series, Strings, Tagged, Values};

/// 2000-01-01, from which PostgreSQL counts, in days after 1970-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * MICROS_PER_DAY;

pub const NO_NUL: &str = "PostgreSQL text fields cannot contain NUL (0x00) bytes";

/// How the values of one column are written.
pub enum Field<'a> {
    Bool(&'a BooleanBuffer),
    Int2(&'a [i64]),
    Int4(&'a [i64]),
    Int8(&'a [i64]),
    Oid(&'a [i64]),
    Float4(&'a [f64]),
    Float8(&'a [f64]),
    Text(&'a Strings),
    Bytea(&'a Strings),
    Jsonb(&'a Strings),
    Date(&'a [i32]),
    Time(&'a [i64]),
    Timestamp(&'a [i64]),
    Uuid(&'a [u128]),
    Numeric(&'a Strings),
    /// Integers among floats.
    Number(&'a Tagged),
    /// Every value of the column is NULL.
    Null,
}

impl<'a> Field<'a> {
    /// The field of that column in a table column of type `typname` (as in `pg_type`, a domain's
    /// base type, or `enum`); None if there is no exact one.
    pub fn new(series: &'a Series, typname: &str, rows: usize) -> Option<Self> {
        if series.validity.as_ref().is_some_and(|validity| validity.null_count() == rows) {
            return Some(Self::Null);
        }
        Some(match (&series.values, typname) {
            (Values::Bool(values), "bool") => Self::Bool(values),
            (Values::Int(values), "int2") => Self::Int2(values),
            (Values::Int(values), "int4") => Self::Int4(values),
            (Values::Int(values), "int8") => Self::Int8(values),
            (Values::Int(values), "oid") => Self::Oid(values),
            (Values::Float(values), "float4") => Self::Float4(values),
            (Values::Float(values), "float8") => Self::Float8(values),
            (Values::Text(values), "text" | "varchar" | "bpchar" | "citext" | "enum")
            | (Values::Json(values), "json") => Self::Text(values),
            (Values::Json(values), "jsonb") => Self::Jsonb(values),
            (Values::Bytes(values), "bytea") => Self::Bytea(values),
            (Values::Date(values), "date") => Self::Date(values),
            (Values::Time(values), "time") => Self::Time(values),
            (Values::Timestamp(values), "timestamp") | (Values::Instant(values), "timestamptz") => {
                Self::Timestamp(values)
            }
            (Values::Uuid(values), "uuid") => Self::Uuid(values),
            (Values::Decimal(values), "numeric") => Self::Numeric(values),
            (Values::Dynamic(values), "float8") if are_numbers(values) => Self::Number(values),
            _ => return None,
        })
    }

    /// Writes length and payload of the value at `row`, or says why it can't be.
    #[inline]
    pub fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
        match self {
            Self::Bool(values) => sized(out, [u8::from(values.value(row))]),
            Self::Int2(values) => sized(out, narrow::<i16>(values[row])?.to_be_bytes()),
            Self::Int4(values) => sized(out, narrow::<i32>(values[row])?.to_be_bytes()),
            Self::Int8(values) | Self::Time(values) => sized(out, values[row].to_be_bytes()),
            Self::Oid(values) => sized(out, narrow::<u32>(values[row])?.to_be_bytes()),
            Self::Float4(values) => sized(out, single(values[row])?.to_be_bytes()),
            Self::Float8(values) => sized(out, values[row].to_be_bytes()),
            Self::Text(values) => text(out, values.get(row), b"")?,
            Self::Jsonb(values) => text(out, values.get(row), b"\x01")?,
            Self::Bytea(values) => long(out, values.get(row), b"")?,
            // The ends of these types are PostgreSQL's infinities, too.
            Self::Date(values) => sized(
                out,
                match values[row] {
                    infinity @ (i32::MIN | i32::MAX) => infinity,
                    day => day - EPOCH_DAYS,
                }
                .to_be_bytes(),
            ),
            Self::Timestamp(values) => sized(
                out,
                match values[row] {
                    infinity @ (i64::MIN | i64::MAX) => infinity,
                    micros => micros - EPOCH_MICROS,
                }
                .to_be_bytes(),
            ),
            Self::Uuid(values) => sized(out, values[row].to_be_bytes()),
            Self::Numeric(values) => number(out, values.get(row))?,
            Self::Number(values) => match values.get(row) {
                Cell::Int(value) => sized(out, (value as f64).to_be_bytes()),
                Cell::Float(value) => sized(out, value.to_be_bytes()),
                _ => null(out),
            },
            Self::Null => null(out),
        }
        Ok(())
    }
}

/// A field of length -1.
pub fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(&(-1_i32).to_be_bytes());
}

fn sized<const N: usize>(out: &mut Vec<u8>, payload: [u8; N]) {
    out.extend_from_slice(&(N as i32).to_be_bytes());
    out.extend_from_slice(&payload);
}

fn narrow<T: TryFrom<i64>>(value: i64) -> Result<T, &'static str> {
    T::try_from(value).map_err(|_| "integer out of range")
}

fn single(value: f64) -> Result<f32, &'static str> {
    let narrowed = value as f32;
    let lost = (narrowed.is_infinite() && value.is_finite()) || (narrowed == 0.0 && value != 0.0);
    if lost { Err("out of range for type real") } else { Ok(narrowed) }
}

fn text(out: &mut Vec<u8>, value: &[u8], prefix: &[u8]) -> Result<(), &'static str> {
    if value.contains(&0) {
        return Err(NO_NUL);
    }
    long(out, value, prefix)
}

fn long(out: &mut Vec<u8>, value: &[u8], prefix: &[u8]) -> Result<(), &'static str> {
    let Ok(length) = i32::try_from(value.len() + prefix.len()) else {
        return Err("a value of less than 2 GiB is expected");
    };
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(prefix);
    out.extend_from_slice(value);
    Ok(())
}

fn number(out: &mut Vec<u8>, value: &[u8]) -> Result<(), &'static str> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let value = std::str::from_utf8(value).unwrap_or_default();
    if !numeric::write(value, out) {
        return Err("a number within the range of numeric is expected");
    }
    let length = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;
    use crate::values::SeriesBuilder;

    fn bytes(kind: Kind, cell: Cell<'_>, typname: &str) -> Result<Vec<u8>, &'static str> {
        let mut builder = SeriesBuilder::new(kind, 1);
        builder.push(cell);
        let series = builder.finish();
        let field = Field::new(&series, typname, 1).expect("an exact pair");
        let mut out = Vec::new();
        field.write(0, &mut out).map(|()| out)
    }

    #[test]
    fn integers_are_checked_against_the_columns_width() {
        assert_eq!(bytes(Kind::Int, Cell::Int(-2), "int2"), Ok(vec![0, 0, 0, 2, 255, 254]));
        assert!(bytes(Kind::Int, Cell::Int(1 << 31), "int4").is_err());
        assert!(bytes(Kind::Int, Cell::Int(1 << 31), "int8").is_ok());
        assert!(bytes(Kind::Int, Cell::Int(-1), "oid").is_err());
    }

    #[test]
    fn times_count_from_2000() {
        let day = bytes(Kind::Date, Cell::Date(EPOCH_DAYS), "date");
        assert_eq!(day, Ok(vec![0, 0, 0, 4, 0, 0, 0, 0]));
        let before = bytes(Kind::Timestamp, Cell::Timestamp(EPOCH_MICROS - 1), "timestamp");
        assert_eq!(before.expect("fits")[4..], (-1_i64).to_be_bytes());
    }

    #[test]
    fn what_is_no_exact_pair_has_no_field() {
        let mut builder = SeriesBuilder::new(Kind::Int, 1);
        builder.push(Cell::Int(1));
        let series = builder.finish();
        for typname in ["float8", "timestamp", "text", "numeric", "money"] {
            assert!(Field::new(&series, typname, 1).is_none(), "{typname}");
        }
    }

    #[test]
    fn a_real_keeps_infinity_and_refuses_overflow() {
        assert!(bytes(Kind::Float, Cell::Float(f64::INFINITY), "float4").is_ok());
        assert!(bytes(Kind::Float, Cell::Float(1e300), "float4").is_err());
        assert!(bytes(Kind::Float, Cell::Float(1e-300), "float4").is_err());
    }

    #[test]
    fn text_refuses_nul() {
        assert!(bytes(Kind::Text, Cell::Text("a\0b"), "text").is_err());
    }
}

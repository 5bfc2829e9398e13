//! Returned rows into columns.

use tokio_postgres::types::{Kind as TypeKind, Type};

use crate::iso;
use crate::kind::Kind;
use crate::values::{Cell, Series, SeriesBuilder};

/// The column of these texts. None where only the driver's own code knows what one means: another
/// type, or a value that stands for infinity or lies outside of Python's calendar.
pub fn series<'a>(type_: &Type, texts: impl Iterator<Item = Option<&'a str>>) -> Option<Series> {
    let kind = kind(type_)?;
    let mut builder = SeriesBuilder::new(kind, 0);
    let mut bytes = Vec::new();
    for text in texts {
        let cell = match text {
            Some(text) => cell(kind, text, &mut bytes)?,
            None => Cell::Null,
        };
        builder.push(cell);
    }
    Some(builder.finish())
}

/// The kind of the type's values.
fn kind(type_: &Type) -> Option<Kind> {
    Some(match *type_ {
        Type::BOOL => Kind::Bool,
        Type::INT2 | Type::INT4 | Type::INT8 => Kind::Int,
        Type::FLOAT4 | Type::FLOAT8 => Kind::Float,
        Type::NUMERIC => Kind::Decimal,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => Kind::Text,
        Type::BYTEA => Kind::Bytes,
        Type::DATE => Kind::Date,
        Type::TIME => Kind::Time,
        Type::TIMESTAMP => Kind::Timestamp,
        Type::TIMESTAMPTZ => Kind::Instant,
        Type::UUID => Kind::Uuid,
        Type::JSON | Type::JSONB => Kind::Json,
        _ if matches!(type_.kind(), TypeKind::Enum(_)) => Kind::Text,
        _ => return None,
    })
}

/// The value of a text as PostgreSQL writes it.
fn cell<'a>(kind: Kind, text: &'a str, bytes: &'a mut Vec<u8>) -> Option<Cell<'a>> {
    Some(match kind {
        Kind::Bool => Cell::Bool(text == "t"),
        Kind::Int => Cell::Int(text.parse().ok()?),
        // Rust reads "NaN" and "-Infinity" as PostgreSQL writes them.
        Kind::Float => Cell::Float(text.parse().ok()?),
        Kind::Decimal => Cell::Decimal(text),
        Kind::Text => Cell::Text(text),
        Kind::Json => Cell::Json(text),
        Kind::Bytes => {
            *bytes = unhex(text.strip_prefix("\\x")?)?;
            Cell::Bytes(bytes)
        }
        Kind::Date => Cell::Date(iso::date(text)?),
        Kind::Time => Cell::Time(iso::time(text)?),
        Kind::Timestamp => Cell::Timestamp(iso::timestamp(text)?),
        Kind::Instant => Cell::Instant(iso::instant(text)?),
        Kind::Uuid => Cell::Uuid(u128::from_str_radix(&text.replace('-', ""), 16).ok()?),
        Kind::Dynamic | Kind::Object => return None,
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    pairs.iter().map(|&[high, low]| Some((digit(high)? << 4 | digit(low)?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(type_: &Type, texts: &[&str]) -> Option<Vec<String>> {
        let series = series(type_, texts.iter().map(|&text| Some(text)))?;
        Some((0..texts.len()).map(|row| format!("{:?}", series.get(row))).collect())
    }

    #[test]
    fn values_are_read_by_their_type() {
        let read = |type_: &Type, text: &str| cells(type_, &[text]).map(|cells| cells.concat());
        assert_eq!(read(&Type::BYTEA, "\\x00ff").as_deref(), Some("Bytes([0, 255])"));
        assert_eq!(read(&Type::NUMERIC, "1.50").as_deref(), Some("Decimal(\"1.50\")"));
        assert_eq!(read(&Type::BOOL, "t").as_deref(), Some("Bool(true)"));
        assert_eq!(read(&Type::FLOAT8, "-Infinity").as_deref(), Some("Float(-inf)"));
        assert_eq!(
            read(&Type::TIMESTAMPTZ, "1970-01-01 01:00:00+01").as_deref(),
            Some("Instant(0)")
        );
        assert_eq!(
            read(&Type::UUID, "00000000-0000-0000-0000-000000000007").as_deref(),
            Some("Uuid(7)")
        );
    }

    #[test]
    fn what_only_the_driver_knows_is_left_to_it() {
        assert_eq!(cells(&Type::DATE, &["2013-01-31", "infinity"]), None);
        assert_eq!(cells(&Type::BYTEA, &["abc\\000"]), None);
        assert_eq!(cells(&Type::INTERVAL, &["1 day"]), None);
    }
}

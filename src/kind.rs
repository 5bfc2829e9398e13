//! The physical shapes of a value.

use crate::error::{Error, Result};

/// What a column's values are made of on their way through fastbulk.
///
/// A database type is not a `Kind`: `SMALLINT` and `BIGINT` are both [`Kind::Int`], and the backend
/// narrows them where it knows the column's actual type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    /// A signed 64-bit integer.
    Int,
    Float,
    Text,
    Bytes,
    /// Days since 1970-01-01.
    Date,
    /// Microseconds since midnight.
    Time,
    /// Microseconds since 1970-01-01 00:00:00 of a wall clock: no time zone.
    Timestamp,
    /// Microseconds since 1970-01-01 00:00:00 UTC.
    Instant,
    /// The 128-bit number of a UUID.
    Uuid,
    /// A decimal number in its canonical text.
    Decimal,
    /// A JSON document in UTF-8.
    Json,
    /// Whatever the driver takes: each cell says its own shape.
    Dynamic,
    /// A Python object that is handed to the driver as it is.
    Object,
}

impl Kind {
    /// The kind of that name, as `orm/kinds.py` spells it.
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "bool" => Self::Bool,
            "int" => Self::Int,
            "float" => Self::Float,
            "text" => Self::Text,
            "bytes" => Self::Bytes,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
            "instant" => Self::Instant,
            "uuid" => Self::Uuid,
            "decimal" => Self::Decimal,
            "json" => Self::Json,
            "dynamic" => Self::Dynamic,
            "object" => Self::Object,
            other => return Err(Error::Internal(format!("no kind is named {other:?}"))),
        })
    }
}

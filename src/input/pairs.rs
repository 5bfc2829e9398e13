//! Which of Arrow's types become which kinds: one table.
//!
//! A pair is here only if no value loses anything on its way; values for which that can't be told
//! by their type are asked one by one in `convert`.

use arrow_schema::{DataType, Field, IntervalUnit};

use crate::kind::Kind;
use crate::plan::Column;

/// What a field of Python objects calls itself.
pub const OBJECTS: &str = "fastbulk.objects";

/// How the values of an Arrow column reach a column of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Native code converts them.
    Natively,
    /// As Python objects, for the type's processor or the driver.
    AsObjects,
    Never,
}

/// Arrow's types by what their values mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Nothing,
    Bool,
    Int,
    /// Half of them is beyond 64 bits with a sign.
    Unsigned,
    Float,
    Decimal,
    Text,
    Bytes,
    /// 16 bytes.
    Uuid,
    Json,
    Date,
    Time,
    /// A wall clock.
    Timestamp,
    /// A moment.
    Instant,
    /// What only Python code knows how to store: lists, structs, durations.
    Nested,
    /// Python objects.
    Objects,
    Unknown,
}

impl Meaning {
    fn of(field: &Field) -> Self {
        match field.extension_type_name() {
            Some("arrow.json") => Self::Json,
            Some("arrow.uuid") => Self::Uuid,
            Some(OBJECTS) => Self::Objects,
            _ => Self::of_type(field.data_type()),
        }
    }

    fn of_type(data_type: &DataType) -> Self {
        use DataType as Type;
        match data_type {
            Type::Null => Self::Nothing,
            Type::Boolean => Self::Bool,
            Type::UInt64 => Self::Unsigned,
            data_type if data_type.is_integer() => Self::Int,
            data_type if data_type.is_floating() => Self::Float,
            data_type if data_type.is_decimal() => Self::Decimal,
            Type::Utf8 | Type::LargeUtf8 | Type::Utf8View => Self::Text,
            Type::FixedSizeBinary(16) => Self::Uuid,
            Type::Binary | Type::LargeBinary | Type::BinaryView | Type::FixedSizeBinary(_) => {
                Self::Bytes
            }
            Type::Date32 | Type::Date64 => Self::Date,
            Type::Time32(_) | Type::Time64(_) => Self::Time,
            Type::Timestamp(_, None) => Self::Timestamp,
            Type::Timestamp(_, Some(_)) => Self::Instant,
            Type::Dictionary(_, value) => Self::of_type(value),
            Type::RunEndEncoded(_, values) => Self::of(values),
            Type::List(item)
            | Type::LargeList(item)
            | Type::FixedSizeList(item, _)
            | Type::ListView(item)
            | Type::LargeListView(item) => Self::nested([item]),
            Type::Struct(fields) => Self::nested(fields),
            Type::Map(entries, _) => Self::nested([entries]),
            Type::Duration(_) | Type::Interval(IntervalUnit::MonthDayNano) => Self::Nested,
            _ => Self::Unknown,
        }
    }

    fn nested<'a>(parts: impl IntoIterator<Item = &'a std::sync::Arc<Field>>) -> Self {
        let known = parts.into_iter().all(|part| Self::of(part) != Self::Unknown);
        if known { Self::Nested } else { Self::Unknown }
    }
}

/// How values of that field reach the column.
#[allow(clippy::unnested_or_patterns, clippy::match_same_arms)] // it is read line by line, in order
pub fn how(column: &Column, field: &Field) -> How {
    use How::{AsObjects, Natively, Never};
    use Kind as K;
    use Meaning as M;
    match (column.kind, Meaning::of(field)) {
        (_, M::Unknown) => Never,
        (K::Object, _) | (_, M::Objects) => AsObjects,
        (K::Json, M::Json) => Natively,
        (K::Dynamic, M::Nothing | M::Bool | M::Int | M::Float | M::Text | M::Bytes)
            if column.processor.is_none() =>
        {
            Natively
        }
        // The type's processor may make something even of NULL.
        (K::Json | K::Dynamic, _) => AsObjects,
        (_, M::Nothing)
        | (K::Bool, M::Bool | M::Int | M::Unsigned)
        | (K::Int | K::Float, M::Bool | M::Int | M::Unsigned | M::Float | M::Decimal)
        | (K::Text, M::Text | M::Int | M::Unsigned)
        | (K::Bytes, M::Bytes | M::Uuid)
        | (K::Date, M::Date | M::Timestamp)
        | (K::Time, M::Time)
        | (K::Timestamp, M::Timestamp | M::Date)
        // What a wall clock means there is the database's to say.
        | (K::Instant, M::Instant | M::Timestamp | M::Date)
        | (K::Uuid, M::Uuid | M::Text)
        | (K::Decimal, M::Bool | M::Int | M::Unsigned | M::Decimal) => Natively,
        // A driver rounds a float, or drops a zone, in its own way.
        (K::Decimal, M::Float) | (K::Timestamp, M::Instant) => AsObjects,
        (
            K::Bool | K::Int | K::Float | K::Text | K::Bytes | K::Date | K::Time | K::Timestamp
            | K::Instant | K::Uuid | K::Decimal,
            _,
        ) => Never,
    }
}

//! Arrow's values as those of a kind, none of which loses anything.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float16Type,
};
use arrow_array::{Array, ArrayRef, ArrowNativeTypeOp, PrimitiveArray};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow_cast::cast;
use arrow_schema::{DataType, TimeUnit};

use crate::calendar::{MICROS_PER_DAY, days};
use crate::kind::Kind;
use crate::values::{Strings, Values};

const MILLIS_PER_DAY: i64 = 86_400_000;

/// Why a value can't be stored as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("an integer of at most 64 bits is expected")]
    Range,
    #[error("{0} would be lost")]
    Inexact(&'static str),
    #[error("{0} is expected")]
    Expected(&'static str),
    #[error("{0}")]
    Unreadable(String),
}

/// The row that can't be converted, and why.
type Bad = (usize, Refused);
type Result<T, E = Bad> = std::result::Result<T, E>;

/// The values of a column of that kind, and where they are NULL; there they are anything.
///
/// The caller has asked the table of pairs.
pub fn values(kind: Kind, array: &ArrayRef) -> Result<(Values, Option<NullBuffer>)> {
    let array = &plain(array)?;
    let values = match kind {
        Kind::Bool => Values::Bool(booleans(array)?),
        Kind::Int => Values::Int(integers(array)?),
        Kind::Float => Values::Float(floats(array)?),
        Kind::Decimal => Values::Decimal(decimals(array)?),
        Kind::Text => Values::Text(texts(array)?),
        Kind::Json => Values::Json(texts(array)?),
        Kind::Bytes => Values::Bytes(strings(array)),
        Kind::Date => Values::Date(dates(array)?),
        Kind::Time => Values::Time(times(array)?),
        Kind::Timestamp => Values::Timestamp(timestamps(array)?),
        Kind::Instant => match array.data_type() {
            DataType::Timestamp(_, Some(_)) => Values::Instant(timestamps(array)?),
            _ => Values::Timestamp(timestamps(array)?),
        },
        Kind::Uuid => Values::Uuid(uuids(array)?),
        Kind::Dynamic | Kind::Object => natural(array)?,
    };
    Ok((values, array.nulls().cloned()))
}

/// In a layout of one value after the other.
fn plain(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Dictionary(_, value) => cast(array, value),
        DataType::RunEndEncoded(_, values) => cast(array, values.data_type()),
        _ => return Ok(array.clone()),
    }
    .map_err(|error| (0, Refused::Unreadable(error.to_string())))
}

/// As a driver gets them without a type's help.
fn natural(array: &ArrayRef) -> Result<Values> {
    Ok(match array.data_type() {
        DataType::Boolean => Values::Bool(booleans(array)?),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Values::Float(floats(array)?),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Values::Text(strings(array)),
        DataType::Null => Values::Int(vec![0; array.len()].into()),
        data_type if data_type.is_integer() => Values::Int(integers(array)?),
        _ => Values::Bytes(strings(array)),
    })
}

/// The array's first buffer, for types whose values have one width.
fn raw<T: ArrowNativeType>(array: &ArrayRef) -> ScalarBuffer<T> {
    let data = array.to_data();
    ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len())
}

fn map<T: ArrowNativeType, V: ArrowNativeType>(
    array: &ArrayRef,
    change: impl Fn(T) -> V,
) -> ScalarBuffer<V> {
    raw::<T>(array).iter().map(|&value| change(value)).collect()
}

/// Asks each value, but for what lies under a NULL.
fn try_map<T: ArrowNativeType, V: ArrowNativeType>(
    values: &[T],
    array: &ArrayRef,
    change: impl Fn(T) -> Result<V, Refused>,
) -> Result<ScalarBuffer<V>> {
    let nulls = array.nulls();
    let convert = |(row, &value): (usize, &T)| {
        if is_null(nulls, row) { Ok(V::default()) } else { change(value).map_err(|why| (row, why)) }
    };
    values.iter().enumerate().map(convert).collect()
}

fn is_null(nulls: Option<&NullBuffer>, row: usize) -> bool {
    nulls.is_some_and(|nulls| nulls.is_null(row))
}

fn booleans(array: &ArrayRef) -> Result<BooleanBuffer> {
    if *array.data_type() == DataType::Boolean {
        return Ok(array.as_boolean().values().clone());
    }
    Ok(try_map(&integers(array)?, array, bit)?.iter().map(|&bit| bit == 1).collect())
}

fn bit(value: i64) -> Result<u8, Refused> {
    u8::try_from(value).ok().filter(|&bit| bit < 2).ok_or(Refused::Expected("0, 1 or a boolean"))
}

fn integers(array: &ArrayRef) -> Result<ScalarBuffer<i64>> {
    Ok(match array.data_type() {
        DataType::Boolean => array.as_boolean().values().iter().map(i64::from).collect(),
        DataType::Int64 => raw(array),
        DataType::Int32 => map::<i32, _>(array, i64::from),
        DataType::Int16 => map::<i16, _>(array, i64::from),
        DataType::Int8 => map::<i8, _>(array, i64::from),
        DataType::UInt32 => map::<u32, _>(array, i64::from),
        DataType::UInt16 => map::<u16, _>(array, i64::from),
        DataType::UInt8 => map::<u8, _>(array, i64::from),
        DataType::UInt64 => try_map(&raw::<u64>(array), array, |value| {
            i64::try_from(value).map_err(|_| Refused::Range)
        })?,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            try_map(&floats(array)?, array, integer_of_float)?
        }
        _ => numbers_of_decimals(array, integer_of_decimal)?,
    })
}

fn integer_of_float(value: f64) -> Result<i64, Refused> {
    if value.is_finite() && value.fract() != 0.0 {
        return Err(Refused::Inexact("a fraction"));
    }
    // -2^63 is a double, 2^63 - 1 is none.
    let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value);
    if fits { Ok(value as i64) } else { Err(Refused::Range) }
}

fn integer_of_decimal(text: &str) -> Result<i64, Refused> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.bytes().any(|digit| digit != b'0') {
        return Err(Refused::Inexact("a fraction"));
    }
    whole.parse().map_err(|_| Refused::Range)
}

fn floats(array: &ArrayRef) -> Result<ScalarBuffer<f64>> {
    Ok(match array.data_type() {
        DataType::Float64 => raw(array),
        DataType::Float32 => map::<f32, _>(array, f64::from),
        DataType::Float16 => {
            map::<<Float16Type as ArrowPrimitiveType>::Native, _>(array, f64::from)
        }
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => numbers_of_decimals(array, float_of_decimal)?,
        _ => try_map(&integers(array)?, array, float_of_integer)?,
    })
}

fn float_of_integer(value: i64) -> Result<f64, Refused> {
    let float = value as f64;
    if float as i128 == i128::from(value) { Ok(float) } else { Err(Refused::Inexact("digits")) }
}

/// The nearest double, if the decimal is its shortest text.
fn float_of_decimal(text: &str) -> Result<f64, Refused> {
    let float: f64 = text.parse().map_err(|_| Refused::Range)?;
    // A double has each number of at most 15 digits.
    if text.len() <= 15 {
        return Ok(float);
    }
    let shortest = format!("{float:e}");
    if digits(text) == digits(&shortest) { Ok(float) } else { Err(Refused::Inexact("digits")) }
}

/// The digits of a number without zeros at its ends, and the power of ten of the first of them.
fn digits(text: &str) -> (String, i32) {
    let (number, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let number = number.trim_start_matches('-');
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all = format!("{whole}{fraction}");
    let leading = all.bytes().take_while(|&digit| digit == b'0').count();
    let significant = all.trim_matches('0').to_owned();
    let power = exponent.parse::<i32>().unwrap_or(0) + whole.len() as i32 - leading as i32;
    if significant.is_empty() { (significant, 0) } else { (significant, power) }
}

fn numbers_of_decimals<V: ArrowNativeType>(
    array: &ArrayRef,
    parse: impl Fn(&str) -> Result<V, Refused>,
) -> Result<ScalarBuffer<V>> {
    let texts = decimals(array)?;
    let rows: Vec<u64> = (0..texts.len() as u64).collect();
    let text = |row| std::str::from_utf8(texts.get(row as usize)).unwrap_or_default();
    try_map(&rows, array, |row| parse(text(row)))
}

fn decimals(array: &ArrayRef) -> Result<Strings> {
    Ok(match array.data_type() {
        DataType::Decimal32(..) => texts_of_decimals::<Decimal32Type>(array),
        DataType::Decimal64(..) => texts_of_decimals::<Decimal64Type>(array),
        DataType::Decimal128(..) => texts_of_decimals::<Decimal128Type>(array),
        DataType::Decimal256(..) => texts_of_decimals::<Decimal256Type>(array),
        _ => texts_of_integers(array)?,
    })
}

fn texts_of_decimals<T: arrow_array::types::DecimalType>(array: &ArrayRef) -> Strings
where
    T::Native: ArrowNativeTypeOp,
{
    let array: &PrimitiveArray<T> = array.as_primitive();
    let mut texts = Strings::default();
    for row in 0..array.len() {
        if array.is_null(row) {
            texts.push(b"");
        } else {
            texts.push(array.value_as_string(row).as_bytes());
        }
    }
    texts
}

fn texts_of_integers(array: &ArrayRef) -> Result<Strings> {
    let mut texts = Strings::default();
    let mut digits = itoa::Buffer::new();
    if *array.data_type() == DataType::UInt64 {
        raw::<u64>(array).iter().for_each(|&value| texts.push(digits.format(value).as_bytes()));
    } else {
        integers(array)?.iter().for_each(|&value| texts.push(digits.format(value).as_bytes()));
    }
    Ok(texts)
}

fn texts(array: &ArrayRef) -> Result<Strings> {
    if array.data_type().is_integer() { texts_of_integers(array) } else { Ok(strings(array)) }
}

/// Texts or byte strings in any of their layouts.
fn strings(array: &ArrayRef) -> Strings {
    macro_rules! each {
        ($array:expr) => {{
            let array = $array;
            let mut strings = Strings::default();
            (0..array.len()).for_each(|row| strings.push(array.value(row).as_ref()));
            strings
        }};
    }
    match array.data_type() {
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            Strings::of_arrow(array.value_offsets(), array.value_data())
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            Strings::of_arrow(array.value_offsets(), array.value_data())
        }
        DataType::LargeUtf8 => {
            let array = array.as_string::<i64>();
            Strings::of_arrow(array.value_offsets(), array.value_data())
        }
        DataType::LargeBinary => {
            let array = array.as_binary::<i64>();
            Strings::of_arrow(array.value_offsets(), array.value_data())
        }
        DataType::Utf8View => each!(array.as_string_view()),
        DataType::BinaryView => each!(array.as_binary_view()),
        DataType::FixedSizeBinary(_) => each!(array.as_fixed_size_binary()),
        // NULLs alone.
        _ => {
            let mut strings = Strings::default();
            (0..array.len()).for_each(|_| strings.push(b""));
            strings
        }
    }
}

/// Those that Python has, and every database.
fn date(days_since_1970: i64) -> Result<i32, Refused> {
    let known = i64::from(days(1, 1, 1))..=i64::from(days(9999, 12, 31));
    if !known.contains(&days_since_1970) {
        return Err(Refused::Expected("a date of the years 1 to 9999"));
    }
    Ok(days_since_1970 as i32)
}

fn dates(array: &ArrayRef) -> Result<ScalarBuffer<i32>> {
    let midnight = |value: i64, day: i64| {
        if value % day == 0 { date(value / day) } else { Err(Refused::Inexact("a time of day")) }
    };
    match array.data_type() {
        DataType::Date32 => try_map(&raw::<i32>(array), array, |days| date(days.into())),
        DataType::Date64 => {
            try_map(&raw::<i64>(array), array, |millis| midnight(millis, MILLIS_PER_DAY))
        }
        _ => try_map(&timestamps(array)?, array, |micros| midnight(micros, MICROS_PER_DAY)),
    }
}

/// What a unit of time counts in microseconds, or how many of it make one.
enum Step {
    Times(i64),
    Parts(i64),
}

impl Step {
    fn of(unit: TimeUnit) -> Self {
        match unit {
            TimeUnit::Second => Self::Times(1_000_000),
            TimeUnit::Millisecond => Self::Times(1_000),
            TimeUnit::Microsecond => Self::Times(1),
            TimeUnit::Nanosecond => Self::Parts(1_000),
        }
    }

    fn micros(&self, value: i64) -> Result<i64, Refused> {
        match self {
            Self::Times(factor) => {
                value.checked_mul(*factor).ok_or(Refused::Expected("a time within 292,000 years"))
            }
            Self::Parts(parts) if value % parts == 0 => Ok(value / parts),
            Self::Parts(_) => Err(Refused::Inexact("nanoseconds")),
        }
    }
}

/// A number of such units in microseconds, as precise as Python and the databases are.
pub fn micros(unit: TimeUnit, value: i64) -> Result<i64, Refused> {
    Step::of(unit).micros(value)
}

fn times(array: &ArrayRef) -> Result<ScalarBuffer<i64>> {
    let clock = |unit, value| match micros(unit, value)? {
        micros @ 0..MICROS_PER_DAY => Ok(micros),
        _ => Err(Refused::Expected("a time of one day")),
    };
    match array.data_type() {
        DataType::Time32(unit) => {
            try_map(&raw::<i32>(array), array, |value| clock(*unit, value.into()))
        }
        DataType::Time64(unit) => try_map(&raw::<i64>(array), array, |value| clock(*unit, value)),
        _ => Ok(vec![0; array.len()].into()),
    }
}

fn timestamps(array: &ArrayRef) -> Result<ScalarBuffer<i64>> {
    let moment = |micros: i64| date(micros.div_euclid(MICROS_PER_DAY)).map(|_| micros);
    match array.data_type() {
        DataType::Timestamp(unit, _) => {
            let step = Step::of(*unit);
            try_map(&raw::<i64>(array), array, |value| step.micros(value).and_then(moment))
        }
        DataType::Date32 | DataType::Date64 => {
            Ok(dates(array)?.iter().map(|&days| i64::from(days) * MICROS_PER_DAY).collect())
        }
        _ => Ok(vec![0; array.len()].into()),
    }
}

fn uuids(array: &ArrayRef) -> Result<Vec<u128>> {
    let strings = strings(array);
    let is_text = !matches!(array.data_type(), DataType::FixedSizeBinary(_));
    let value = |row| {
        let bytes = strings.get(row);
        let number = match <[u8; 16]>::try_from(bytes) {
            Ok(bytes) if !is_text => Some(u128::from_be_bytes(bytes)),
            _ => uuid_of_text(bytes),
        };
        match number {
            Some(number) => Ok(number),
            None if is_null(array.nulls(), row) => Ok(0),
            None => Err((row, Refused::Expected("a UUID"))),
        }
    };
    (0..array.len()).map(value).collect()
}

/// 32 hexadecimal digits, with or without hyphens.
fn uuid_of_text(text: &[u8]) -> Option<u128> {
    let text = std::str::from_utf8(text).ok()?;
    let digits: String = text.chars().filter(|&digit| digit != '-').collect();
    let all = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    all.then(|| u128::from_str_radix(&digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_float_is_an_integer_only_if_it_is_one() {
        assert_eq!(integer_of_float(-3.0), Ok(-3));
        assert_eq!(integer_of_float(1.5), Err(Refused::Inexact("a fraction")));
        for value in [f64::NAN, f64::INFINITY, 9_223_372_036_854_775_808.0] {
            assert_eq!(integer_of_float(value), Err(Refused::Range));
        }
        assert_eq!(integer_of_float(-9_223_372_036_854_775_808.0), Ok(i64::MIN));
    }

    #[test]
    fn an_integer_is_a_float_only_if_it_has_all_digits() {
        assert_eq!(float_of_integer(1 << 53), Ok(9_007_199_254_740_992.0));
        for value in [(1 << 53) + 1, i64::MAX] {
            assert_eq!(float_of_integer(value), Err(Refused::Inexact("digits")));
        }
    }

    #[test]
    fn a_decimal_is_a_float_only_if_that_says_it() {
        for (text, float) in [("0.10", 0.1), ("-12345.678900", -12345.6789), ("0.000", 0.0)] {
            assert_eq!(float_of_decimal(text), Ok(float), "{text}");
        }
        assert_eq!(float_of_decimal("100"), Ok(100.0));
        assert_eq!(float_of_decimal("0.0012"), Ok(0.0012));
        for text in ["1234567890123456789", "0.1000000000000000055511151231257827"] {
            assert_eq!(float_of_decimal(text), Err(Refused::Inexact("digits")), "{text}");
        }
        assert_eq!(integer_of_decimal("12.00"), Ok(12));
        assert_eq!(integer_of_decimal("-0.5"), Err(Refused::Inexact("a fraction")));
    }

    #[test]
    fn uuids_are_read_with_or_without_hyphens() {
        let text = "12345678-1234-5678-1234-567812345678";
        assert_eq!(uuid_of_text(text.as_bytes()), Some(0x1234_5678_1234_5678_1234_5678_1234_5678));
        assert_eq!(uuid_of_text(text.replace('-', "").as_bytes()), uuid_of_text(text.as_bytes()));
        for text in ["", "1234", "+2345678123456781234567812345678"] {
            assert_eq!(uuid_of_text(text.as_bytes()), None, "{text}");
        }
    }
}

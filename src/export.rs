//! Columns as Arrow's arrays.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, FixedSizeBinaryArray, Float64Array,
    Int64Array, LargeBinaryArray, LargeStringArray, NullArray, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field};

use crate::values::{Series, Strings, Values};

/// The digits that Arrow's 128-bit decimals have.
const PRECISION: u8 = 38;

/// The field of that name and the array of its values. `scale` is what a decimal has at least.
pub fn column(name: &str, series: Series, scale: i8) -> Result<(Field, ArrayRef), ArrowError> {
    let Series { values, validity: nulls, .. } = series;
    let mut extension = None;
    let array: ArrayRef = match values {
        Values::Bool(values) => Arc::new(BooleanArray::new(values, nulls)),
        Values::Int(values) => Arc::new(Int64Array::new(values, nulls)),
        Values::Float(values) => Arc::new(Float64Array::new(values, nulls)),
        Values::Text(values) => texts(values, nulls)?,
        Values::Json(values) => {
            extension = Some("arrow.json");
            texts(values, nulls)?
        }
        Values::Bytes(values) => bytes(values, nulls)?,
        Values::Date(values) => Arc::new(Date32Array::new(values, nulls)),
        Values::Time(values) => Arc::new(Time64MicrosecondArray::new(values, nulls)),
        Values::Timestamp(values) => Arc::new(TimestampMicrosecondArray::new(values, nulls)),
        Values::Instant(values) => {
            Arc::new(TimestampMicrosecondArray::new(values, nulls).with_timezone("UTC"))
        }
        Values::Uuid(values) => {
            extension = Some("arrow.uuid");
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
            Arc::new(FixedSizeBinaryArray::try_new(16, Buffer::from_vec(bytes), nulls)?)
        }
        Values::Decimal(values) => decimals(values, nulls, scale)?,
        // No value said of which type they are.
        Values::Dynamic(values)
            if nulls.as_ref().map_or(0, NullBuffer::null_count) == values.len() =>
        {
            Arc::new(NullArray::new(values.len()))
        }
        Values::Dynamic(_) | Values::Object(_) => {
            return Err(ArrowError::CastError(format!(
                "the values of {name:?} are of several types, and Arrow's of one"
            )));
        }
    };
    let field = Field::new(name, array.data_type().clone(), true);
    let metadata = extension
        .map(|extension| ("ARROW:extension:name".to_owned(), extension.to_owned()))
        .into_iter()
        .collect::<HashMap<_, _>>();
    Ok((field.with_metadata(metadata), array))
}

fn texts(values: Strings, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
    let (offsets, data) = values.into_parts();
    Ok(match small(&offsets) {
        Some(offsets) => Arc::new(StringArray::try_new(offsets, Buffer::from_vec(data), nulls)?),
        None => Arc::new(LargeStringArray::try_new(
            OffsetBuffer::new(offsets.into()),
            Buffer::from_vec(data),
            nulls,
        )?),
    })
}

fn bytes(values: Strings, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
    let (offsets, data) = values.into_parts();
    Ok(match small(&offsets) {
        Some(offsets) => Arc::new(BinaryArray::try_new(offsets, Buffer::from_vec(data), nulls)?),
        None => Arc::new(LargeBinaryArray::try_new(
            OffsetBuffer::new(offsets.into()),
            Buffer::from_vec(data),
            nulls,
        )?),
    })
}

/// The offsets in the width of the common layout, if there are not too many bytes.
fn small(offsets: &[i64]) -> Option<OffsetBuffer<i32>> {
    i32::try_from(*offsets.last()?).ok()?;
    let offsets: ScalarBuffer<i32> = offsets.iter().map(|&offset| offset as i32).collect();
    Some(OffsetBuffer::new(offsets))
}

fn decimals(values: Strings, nulls: Option<NullBuffer>, scale: i8) -> Result<ArrayRef, ArrowError> {
    let rows = (0..values.len()).filter(|&row| nulls.as_ref().is_none_or(|n| n.is_valid(row)));
    let given = rows.map(|row| fraction(values.get(row))).max().unwrap_or(0);
    let scale = i8::try_from(given).unwrap_or(i8::MAX).max(scale);
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(&texts(values, nulls)?, &DataType::Decimal128(PRECISION, scale), &options)
}

/// How many digits stand after the point.
fn fraction(text: &[u8]) -> usize {
    let (number, exponent) = match text.iter().position(|&byte| byte == b'E') {
        Some(place) => (&text[..place], std::str::from_utf8(&text[place + 1..]).unwrap_or("0")),
        None => (text, "0"),
    };
    let point = number.iter().position(|&byte| byte == b'.');
    let digits = point.map_or(0, |point| number.len() - point - 1) as i64;
    usize::try_from(digits - exponent.parse::<i64>().unwrap_or(0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_after_the_point() {
        for (text, digits) in
            [("1", 0), ("1.50", 2), ("-0.001", 3), ("1E-7", 7), ("1.5E+3", 0), ("NaN", 0)]
        {
            assert_eq!(fraction(text.as_bytes()), digits, "{text}");
        }
    }
}

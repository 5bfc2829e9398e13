//! Columns as SQLite stores them, in the text forms of SQLAlchemy's SQLite dialect.

use std::borrow::Cow;

use arrow_buffer::BooleanBuffer;

use crate::calendar::{MICROS_PER_DAY, civil, clock};
use crate::values::{Cell, Series, Strings, Tagged, Values};

/// A column of a slice, ready to be bound.
pub enum Encoded<'a> {
    Bool(&'a BooleanBuffer),
    Int(&'a [i64]),
    Float(&'a [f64]),
    Text(&'a Strings),
    Bytes(&'a Strings),
    /// Texts of one width: value `i` is `data[i * width..(i + 1) * width]`.
    Fixed {
        width: usize,
        data: Vec<u8>,
    },
    Dynamic(Cow<'a, Tagged>),
}

impl Clone for Tagged {
    fn clone(&self) -> Self {
        let mut copy = Self::default();
        (0..self.len()).for_each(|position| copy.push(self.get(position)));
        copy
    }
}

pub fn encode(series: &Series) -> Encoded<'_> {
    match &series.values {
        Values::Bool(values) => Encoded::Bool(values),
        Values::Int(values) => Encoded::Int(values),
        Values::Float(values) => Encoded::Float(values),
        Values::Text(values) | Values::Decimal(values) | Values::Json(values) => {
            Encoded::Text(values)
        }
        Values::Bytes(values) => Encoded::Bytes(values),
        Values::Date(values) => fixed(10, values, |text, &days| write_date(text, days)),
        Values::Time(values) => fixed(15, values, |text, &micros| write_time(text, micros)),
        Values::Timestamp(values) | Values::Instant(values) => {
            fixed(26, values, |text, &micros| write_timestamp(text, micros))
        }
        Values::Uuid(values) => fixed(32, values, |text, &number| write_uuid(text, number)),
        Values::Dynamic(values) => Encoded::Dynamic(storable(values)),
        // The plain road carries Python objects; a job never holds them.
        Values::Object(_) => Encoded::Dynamic(Cow::Owned(Tagged::default())),
    }
}

/// Dates and times come in runs of equal ones, of which only the first is to be worked out.
fn fixed<T: PartialEq>(
    width: usize,
    values: &[T],
    write: impl Fn(&mut Vec<u8>, &T),
) -> Encoded<'_> {
    let mut data = Vec::with_capacity(width * values.len());
    let mut last = None;
    for value in values {
        if last == Some(value) {
            data.extend_from_within(data.len() - width..);
        } else {
            write(&mut data, value);
            last = Some(value);
        }
    }
    Encoded::Fixed { width, data }
}

/// Cells that SQLite has a storage class for; dates and UUIDs become text.
fn storable(cells: &Tagged) -> Cow<'_, Tagged> {
    let foreign =
        |cell| matches!(cell, Cell::Date(_) | Cell::Time(_) | Cell::Timestamp(_) | Cell::Uuid(_));
    if !(0..cells.len()).any(|position| foreign(cells.get(position))) {
        return Cow::Borrowed(cells);
    }
    let mut storable = Tagged::default();
    let mut text = Vec::new();
    for position in 0..cells.len() {
        text.clear();
        match cells.get(position) {
            Cell::Date(days) => write_date(&mut text, days),
            Cell::Time(micros) => write_time(&mut text, micros),
            Cell::Timestamp(micros) | Cell::Instant(micros) => write_timestamp(&mut text, micros),
            Cell::Decimal(value) | Cell::Json(value) => text.extend_from_slice(value.as_bytes()),
            Cell::Uuid(number) => write_uuid(&mut text, number),
            cell => {
                storable.push(cell);
                continue;
            }
        }
        storable.push(Cell::Text(std::str::from_utf8(&text).unwrap_or_default()));
    }
    Cow::Owned(storable)
}

/// `2013-01-31`
fn write_date(text: &mut Vec<u8>, days: i32) {
    let (year, month, day) = civil(days);
    digits::<4>(text, year as u32);
    text.push(b'-');
    digits::<2>(text, u32::from(month));
    text.push(b'-');
    digits::<2>(text, u32::from(day));
}

/// `23:59:59.000001`
fn write_time(text: &mut Vec<u8>, micros: i64) {
    let (hour, minute, second, micro) = clock(micros);
    digits::<2>(text, u32::from(hour));
    text.push(b':');
    digits::<2>(text, u32::from(minute));
    text.push(b':');
    digits::<2>(text, u32::from(second));
    text.push(b'.');
    digits::<6>(text, micro);
}

/// `2013-01-31 23:59:59.000001`
fn write_timestamp(text: &mut Vec<u8>, micros: i64) {
    write_date(text, micros.div_euclid(MICROS_PER_DAY) as i32);
    text.push(b' ');
    write_time(text, micros.rem_euclid(MICROS_PER_DAY));
}

/// 32 hexadecimal digits.
fn write_uuid(text: &mut Vec<u8>, number: u128) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for shift in (0..32).rev() {
        text.push(HEX[(number >> (shift * 4)) as usize & 15]);
    }
}

fn digits<const WIDTH: usize>(text: &mut Vec<u8>, mut number: u32) {
    let mut digits = [b'0'; WIDTH];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    text.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::{days, micros};

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut text = Vec::new();
        write(&mut text);
        String::from_utf8(text).expect("digits are ASCII")
    }

    #[test]
    fn texts_are_those_of_the_dialect() {
        assert_eq!(text(|t| write_date(t, days(13, 1, 31))), "0013-01-31");
        assert_eq!(text(|t| write_time(t, micros(23, 5, 0, 42))), "23:05:00.000042");
        let before_the_epoch = i64::from(days(1969, 12, 31)) * MICROS_PER_DAY + 1;
        assert_eq!(text(|t| write_timestamp(t, before_the_epoch)), "1969-12-31 00:00:00.000001");
        assert_eq!(text(|t| write_uuid(t, 0xab)), "000000000000000000000000000000ab");
    }

    #[test]
    fn runs_of_equal_values_are_texts_of_their_own() {
        let Encoded::Fixed { width, data } =
            fixed(10, &[0, 0, 1, 0], |text, &days| write_date(text, days))
        else {
            panic!("texts of one width");
        };
        let texts: Vec<_> = data.chunks(width).map(|text| text[9]).collect();
        assert_eq!(texts, *b"1121");
    }

    #[test]
    fn a_mixed_column_keeps_its_storable_cells() {
        let mut cells = Tagged::default();
        cells.push(Cell::Int(7));
        cells.push(Cell::Date(0));
        let stored = storable(&cells);
        assert_eq!((stored.get(0), stored.get(1)), (Cell::Int(7), Cell::Text("1970-01-01")));
    }
}

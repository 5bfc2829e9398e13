//! Values as SQL literals that mean the same under every `sql_mode`.
//!
//! A backslash is an escape or not by the mode, so no literal has one: a text with a backslash is
//! written in hexadecimal. In `'...'` only the quote is doubled, which every mode reads alike.

use crate::calendar::{MICROS_PER_DAY, civil, clock};
use crate::values::Cell;

/// Zeros that an exponent may add to a decimal. The server's decimals have 65 digits, so more are
/// out of its range, in the range of a refusal's message.
const MAX_ZEROS: i64 = 400;

const HEX: &[u8; 16] = b"0123456789abcdef";

pub type Result<T = (), E = &'static str> = std::result::Result<T, E>;

/// How texts are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style<'a> {
    /// A word in lower case that the driver would take for a command of its own, wherever in the
    /// statement it stands.
    pub avoid: Option<&'a [u8]>,
    /// A float without an exponent is a decimal to the server, which a column of text shows.
    pub plain_floats: bool,
}

/// Appends the literal of one value.
pub fn write_cell(cell: Cell<'_>, style: Style<'_>, out: &mut Vec<u8>) -> Result {
    match cell {
        Cell::Null => out.extend_from_slice(b"NULL"),
        Cell::Bool(value) => write_bool(value, out),
        Cell::Int(value) => write_int(value, out),
        Cell::Float(value) => write_float(value, style, out)?,
        Cell::Text(value) | Cell::Json(value) => write_text(value.as_bytes(), style, out),
        Cell::Bytes(value) => write_bytes(value, out),
        Cell::Date(days) => write_date(days, out),
        Cell::Time(micros) => write_time(micros, out),
        Cell::Timestamp(micros) => write_timestamp(micros, out),
        Cell::Instant(_) => return Err("a datetime without a time zone is expected"),
        Cell::Uuid(number) => write_uuid(number, out),
        Cell::Decimal(value) => write_decimal(value, out)?,
    }
    Ok(())
}

pub fn write_bool(value: bool, out: &mut Vec<u8>) {
    out.push(if value { b'1' } else { b'0' });
}

pub fn write_int(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The shortest text that means this number.
pub fn write_float(value: f64, style: Style<'_>, out: &mut Vec<u8>) -> Result {
    if value.is_nan() {
        return Err("nan can not be used with MySQL");
    }
    if value.is_infinite() {
        return Err(if value > 0.0 {
            "inf can not be used with MySQL"
        } else {
            "-inf can not be used with MySQL"
        });
    }
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value);
    out.extend_from_slice(text.as_bytes());
    if !style.plain_floats && !text.contains('e') {
        out.extend_from_slice(b"e0");
    }
    Ok(())
}

/// `'it''s'`, or in hexadecimal what has a backslash or a word to avoid.
pub fn write_text(value: &[u8], style: Style<'_>, out: &mut Vec<u8>) {
    let has_word = style.avoid.is_some_and(|word| contains_word(value, word));
    if has_word || value.contains(&b'\\') {
        out.extend_from_slice(b"_utf8mb4 x'");
        push_hex(value, out);
        out.push(b'\'');
        return;
    }
    out.push(b'\'');
    let mut rest = value;
    while let Some(quote) = rest.iter().position(|&byte| byte == b'\'') {
        out.extend_from_slice(&rest[..=quote]);
        out.push(b'\'');
        rest = &rest[quote + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'\'');
}

fn contains_word(value: &[u8], word: &[u8]) -> bool {
    value.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

/// A string of bytes: without `_binary` a hexadecimal literal may be read as a number.
pub fn write_bytes(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"_binary x'");
    push_hex(value, out);
    out.push(b'\'');
}

pub fn push_hex(value: &[u8], out: &mut Vec<u8>) {
    out.reserve(value.len() * 2);
    for byte in value {
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

pub fn write_date(days: i32, out: &mut Vec<u8>) {
    out.push(b'\'');
    push_date(days, out);
    out.push(b'\'');
}

pub fn write_time(micros: i64, out: &mut Vec<u8>) {
    out.push(b'\'');
    push_time(micros, out);
    out.push(b'\'');
}

pub fn write_timestamp(micros: i64, out: &mut Vec<u8>) {
    out.push(b'\'');
    push_timestamp(micros, out);
    out.push(b'\'');
}

pub fn push_timestamp(micros: i64, out: &mut Vec<u8>) {
    push_date(micros.div_euclid(MICROS_PER_DAY) as i32, out);
    out.push(b' ');
    push_time(micros.rem_euclid(MICROS_PER_DAY), out);
}

pub fn push_date(days: i32, out: &mut Vec<u8>) {
    let (year, month, day) = civil(days);
    push_padded(year.unsigned_abs(), 4, out);
    out.push(b'-');
    push_padded(u32::from(month), 2, out);
    out.push(b'-');
    push_padded(u32::from(day), 2, out);
}

/// A fraction is left out where it is zero, as drivers do: a column of text would show it.
pub fn push_time(micros: i64, out: &mut Vec<u8>) {
    let (hour, minute, second, micro) = clock(micros);
    push_padded(u32::from(hour), 2, out);
    out.push(b':');
    push_padded(u32::from(minute), 2, out);
    out.push(b':');
    push_padded(u32::from(second), 2, out);
    if micro > 0 {
        out.push(b'.');
        push_padded(micro, 6, out);
    }
}

fn push_padded(mut value: u32, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 10];
    for digit in digits[..width].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[..width]);
}

/// `'12345678-1234-5678-1234-567812345678'`
fn write_uuid(number: u128, out: &mut Vec<u8>) {
    out.push(b'\'');
    for (position, byte) in number.to_be_bytes().into_iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        push_hex(&[byte], out);
    }
    out.push(b'\'');
}

/// `'12345678123456781234567812345678'`, which a column of type UUID takes as well.
pub fn write_uuid_hex(number: u128, out: &mut Vec<u8>) {
    out.push(b'\'');
    push_hex(&number.to_be_bytes(), out);
    out.push(b'\'');
}

/// The digits of a Python `Decimal` or `int`, without an exponent, which would make it a double.
pub fn write_decimal(text: &str, out: &mut Vec<u8>) -> Result {
    let (mantissa, exponent) = text.split_once(['E', 'e']).unwrap_or((text, "0"));
    let digits = mantissa.trim_start_matches(['-', '+']);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !is_number(whole) || !is_number(fraction) {
        return Err("only a finite number can be used with MySQL");
    }
    if mantissa.starts_with('-') {
        out.push(b'-');
    }
    if exponent == "0" {
        out.extend_from_slice(digits.as_bytes());
        return Ok(());
    }
    match exponent.parse::<i64>() {
        Ok(exponent) if exponent.abs() <= MAX_ZEROS => shift(whole, fraction, exponent, out),
        _ => return Err("a number within the range of DECIMAL is expected"),
    }
    Ok(())
}

/// Appends `whole.fraction` with its point moved by that many digits.
fn shift(whole: &str, fraction: &str, exponent: i64, out: &mut Vec<u8>) {
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let point = whole.len() as i64 + exponent;
    if point <= 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-point) as usize));
        out.extend_from_slice(&digits);
        return;
    }
    let point = point as usize;
    out.extend_from_slice(&digits[..point.min(digits.len())]);
    if point < digits.len() {
        out.push(b'.');
        out.extend_from_slice(&digits[point..]);
    } else {
        out.extend(std::iter::repeat_n(b'0', point - digits.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(cell: Cell<'_>) -> Result<String> {
        let mut out = Vec::new();
        write_cell(cell, Style { avoid: Some(b"delimiter"), plain_floats: false }, &mut out)?;
        Ok(String::from_utf8(out).expect("literals are UTF-8"))
    }

    #[test]
    fn texts_have_no_backslash_and_no_single_quote_alone() {
        for (text, expected) in [
            ("", "''"),
            ("it's", "'it''s'"),
            ("''", "''''''"),
            ("a\"b`%s\0é😀", "'a\"b`%s\0é😀'"),
            ("\\", "_utf8mb4 x'5c'"),
            ("\\' OR 1=1 -- ", "_utf8mb4 x'5c27204f5220313d31202d2d20'"),
            ("DeLimiter ", "_utf8mb4 x'44654c696d6974657220'"),
        ] {
            assert_eq!(literal(Cell::Text(text)).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(literal(Cell::Int(i64::MIN)).as_deref(), Ok("-9223372036854775808"));
        assert_eq!(literal(Cell::Float(0.1)).as_deref(), Ok("0.1e0"));
        assert_eq!(literal(Cell::Float(1e22)).as_deref(), Ok("1e22"));
        assert!(literal(Cell::Float(f64::NAN)).is_err());
        assert!(literal(Cell::Float(f64::NEG_INFINITY)).is_err());
    }

    #[test]
    fn decimals_are_written_out() {
        for (text, expected) in [
            ("18446744073709551615", "18446744073709551615"),
            ("-1.50", "-1.50"),
            ("1E+3", "1000"),
            ("-1.25E+1", "-12.5"),
            ("1.2E-3", "0.0012"),
            ("0E-8", "0.00000000"),
            ("123E-2", "1.23"),
        ] {
            assert_eq!(literal(Cell::Decimal(text)).as_deref(), Ok(expected), "{text}");
        }
        for text in ["NaN", "sNaN", "-Infinity", "1E+999999", "1E999999999999999999999", ""] {
            assert!(literal(Cell::Decimal(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn times_show_a_fraction_only_where_there_is_one() {
        assert_eq!(literal(Cell::Timestamp(0)).as_deref(), Ok("'1970-01-01 00:00:00'"));
        assert_eq!(literal(Cell::Timestamp(-1)).as_deref(), Ok("'1969-12-31 23:59:59.999999'"));
        assert_eq!(literal(Cell::Date(-719_162)).as_deref(), Ok("'0001-01-01'"));
        assert_eq!(literal(Cell::Time(3_600_000_001)).as_deref(), Ok("'01:00:00.000001'"));
    }

    #[test]
    fn bytes_are_strings() {
        assert_eq!(literal(Cell::Bytes(b"\x00'\\")).as_deref(), Ok("_binary x'00275c'"));
        assert_eq!(literal(Cell::Bytes(b"")).as_deref(), Ok("_binary x''"));
    }
}

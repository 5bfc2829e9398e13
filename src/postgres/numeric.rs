//! `numeric` on the wire: digits in base 10,000
//! (<https://www.postgresql.org/docs/current/protocol-overview.html>, `numeric_recv`).

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Writes the payload of a `numeric` from the text of a Python `Decimal` or `int`; false if the
/// text is no number that the wire format has room for.
pub fn write(text: &str, out: &mut Vec<u8>) -> bool {
    let special = match text.to_ascii_lowercase().as_str() {
        "nan" | "-nan" | "snan" | "-snan" => Some(NAN),
        "infinity" => Some(INFINITY),
        "-infinity" => Some(NEGATIVE_INFINITY),
        _ => None,
    };
    if let Some(sign) = special {
        header(out, 0, 0, sign, 0);
        return true;
    }
    let Some(number) = Number::parse(text) else { return false };
    number.write(out)
}

/// Decimal digits, with the position of the point.
struct Number {
    negative: bool,
    digits: Vec<u8>,
    /// Digits after the point; negative for zeros that are not written out.
    scale: i64,
}

impl Number {
    /// `-12.50`, `1E+3`, `1.5e-7`.
    fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let negative = mantissa.starts_with('-');
        let mantissa = mantissa.trim_start_matches(['-', '+']);
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let scale = i64::try_from(fraction.len()).ok()? - exponent;
        Some(Self { negative, digits: digits.iter().map(|digit| digit - b'0').collect(), scale })
    }

    fn write(&self, out: &mut Vec<u8>) -> bool {
        // The display scale keeps trailing zeros; an exponent adds none after the point.
        let Ok(display) = u16::try_from(self.scale.max(0)) else { return false };
        if display > 16_383 || self.scale < -131_072 {
            return false;
        }
        let mut digits = self.digits.clone();
        digits.extend(std::iter::repeat_n(0, usize::try_from(-self.scale).unwrap_or(0)));
        let after_point = usize::from(display);
        // Groups of four are counted from the point, in both directions.
        digits.extend(std::iter::repeat_n(0, (4 - after_point % 4) % 4));
        let groups_after = after_point.div_ceil(4);
        let missing = (4 - digits.len() % 4) % 4;
        digits.splice(0..0, std::iter::repeat_n(0, missing));
        let groups: Vec<i16> = digits
            .chunks_exact(4)
            .map(|four| four.iter().fold(0, |group, &digit| group * 10 + i16::from(digit)))
            .collect();
        let weight = groups.len() as i64 - groups_after as i64 - 1;
        let leading = groups.iter().take_while(|&&group| group == 0).count();
        let trailing = groups[leading..].iter().rev().take_while(|&&group| group == 0).count();
        let groups = &groups[leading..groups.len() - trailing];
        let (Ok(count), Ok(weight)) =
            (u16::try_from(groups.len()), i16::try_from(weight - leading as i64))
        else {
            return false;
        };
        let sign = if self.negative && !groups.is_empty() { NEGATIVE } else { POSITIVE };
        header(out, count, if groups.is_empty() { 0 } else { weight }, sign, display);
        for group in groups {
            out.extend_from_slice(&group.to_be_bytes());
        }
        true
    }
}

fn header(out: &mut Vec<u8>, groups: u16, weight: i16, sign: u16, scale: u16) {
    out.extend_from_slice(&groups.to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&scale.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<i16> {
        let mut out = Vec::new();
        assert!(write(text, &mut out), "{text}");
        out.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect()
    }

    #[test]
    fn numbers_are_grouped_from_the_point() {
        assert_eq!(words("0"), [0, 0, 0, 0]);
        assert_eq!(words("0.00"), [0, 0, 0, 2]);
        assert_eq!(words("1"), [1, 0, 0, 0, 1]);
        assert_eq!(words("-12345.678"), [3, 1, 0x4000, 3, 1, 2345, 6780]);
        assert_eq!(words("10000"), [1, 1, 0, 0, 1]);
        assert_eq!(words("1E+5"), [1, 1, 0, 0, 10]);
        assert_eq!(words("0.00012"), [2, -1, 0, 5, 1, 2000]);
        assert_eq!(words("1.5e-7"), [1, -2, 0, 8, 15]);
        assert_eq!(words("0.00000001"), [1, -2, 0, 8, 1]);
    }

    #[test]
    fn specials_and_what_is_no_number() {
        assert_eq!(words("NaN"), [0, 0, -16384, 0]);
        assert_eq!(words("-Infinity"), [0, 0, -4096, 0]);
        for text in ["", "-", "1.2.3", "abc", "1e99999999", "1e-20000"] {
            assert!(!write(text, &mut Vec::new()), "{text}");
        }
    }
}

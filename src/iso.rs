//! Dates and times as databases write them: ISO 8601 with a blank between the two.

use crate::calendar::{FIRST_DAY, LAST_DAY, MICROS_PER_DAY, civil, days, micros};

/// `2013-01-31`, in days since 1970-01-01.
pub fn date(text: &str) -> Option<i32> {
    let [year, month, day] = fields::<3>(text, "-", [4, 2, 2])?;
    let number = days(year as i32, u8::try_from(month).ok()?, u8::try_from(day).ok()?);
    let is_right =
        (1..=12).contains(&month) && civil(number) == (year as i32, month as u8, day as u8);
    (is_right && (FIRST_DAY..=LAST_DAY).contains(&number)).then_some(number)
}

/// `12:34:56` or `12:34:56.789`, in microseconds since midnight.
pub fn time(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let [hour, minute, second] = fields::<3>(clock, ":", [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 59 || fraction.len() > 6 {
        return None;
    }
    let micro = number(fraction)? * 10_u32.pow(6 - fraction.len() as u32);
    Some(micros(hour as u8, minute as u8, second as u8, micro))
}

/// `2013-01-31 12:34:56.789`, in microseconds since 1970-01-01 00:00:00.
pub fn timestamp(text: &str) -> Option<i64> {
    let (day, clock) = text.split_once(' ')?;
    Some(i64::from(date(day)?) * MICROS_PER_DAY + time(clock)?)
}

/// `2013-01-31 12:34:56-05:30`, in microseconds since 1970-01-01 00:00:00 UTC.
pub fn instant(text: &str) -> Option<i64> {
    let sign = text.rfind(['+', '-']).filter(|&place| place > "2013-01-31".len())?;
    let (local, offset) = text.split_at(sign);
    let mut seconds = 0;
    for (part, unit) in offset[1..].split(':').zip([3_600, 60, 1]) {
        seconds += i64::from(number(part)?) * unit;
    }
    let east = if offset.starts_with('-') { -seconds } else { seconds };
    Some(timestamp(local)? - east * 1_000_000)
}

/// The numbers between separators, each with so many digits.
fn fields<const N: usize>(text: &str, separator: &str, digits: [usize; N]) -> Option<[u32; N]> {
    let mut parts = text.split(separator);
    let mut found = [0; N];
    for (number_, digits) in found.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits)?;
        *number_ = number(part)?;
    }
    parts.next().is_none().then_some(found)
}

/// Digits, and no sign.
fn number(text: &str) -> Option<u32> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date("1970-01-02"), Some(1));
        assert_eq!(date("0001-01-01"), Some(FIRST_DAY));
        assert_eq!(date("9999-12-31"), Some(LAST_DAY));
        for wrong in [
            "",
            "infinity",
            "2013-02-29",
            "0000-01-01",
            "2013-1-1",
            "10000-01-01",
            "2013-01-01 BC",
            "+013-01-01",
            "2013-01-011",
        ] {
            assert_eq!(date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(time("00:00:00"), Some(0));
        assert_eq!(time("00:00:01.5"), Some(1_500_000));
        assert_eq!(time("23:59:59.999999"), Some(MICROS_PER_DAY - 1));
        for wrong in ["24:00:00", "1:00:00", "00:60:00", "00:00:00.1234567", "00:00", "00:00:00."] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn moments() {
        assert_eq!(timestamp("1970-01-01 00:00:01"), Some(1_000_000));
        assert_eq!(timestamp("1970-01-01T00:00:01"), None);
        let hour = 3_600_000_000;
        assert_eq!(instant("1970-01-01 00:00:00+00"), Some(0));
        assert_eq!(instant("1970-01-01 00:00:00-05"), Some(5 * hour));
        assert_eq!(instant("1970-01-01 00:00:00+05:30"), Some(-(5 * hour + hour / 2)));
        assert_eq!(instant("1970-01-01 00:00:00.5-00:00:01"), Some(1_500_000));
        assert_eq!(instant("1970-01-01 00:00:00"), None);
    }
}

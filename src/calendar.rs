//! Days and microseconds, to and from the proleptic Gregorian calendar.
//!
//! The day algorithms are Howard Hinnant's `days_from_civil` and `civil_from_days`
//! (<https://howardhinnant.github.io/date_algorithms.html>).

pub const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The ends of Python's calendar, in days since 1970-01-01.
pub const FIRST_DAY: i32 = -719_162;
pub const LAST_DAY: i32 = 2_932_896;

/// The day that such an end stands for where it means infinity, `i32::MIN` or `i32::MAX`.
pub fn unending_day(day: i32) -> i32 {
    match day {
        FIRST_DAY => i32::MIN,
        LAST_DAY => i32::MAX,
        day => day,
    }
}

/// The same for microseconds, of which the calendar's first and last one are its ends.
pub fn unending_moment(micros: i64) -> i64 {
    const FIRST: i64 = FIRST_DAY as i64 * MICROS_PER_DAY;
    const LAST: i64 = (LAST_DAY as i64 + 1) * MICROS_PER_DAY - 1;
    match micros {
        FIRST => i64::MIN,
        LAST => i64::MAX,
        micros => micros,
    }
}

/// Days since 1970-01-01.
pub fn days(year: i32, month: u8, day: u8) -> i32 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (i32::from(month) + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + i32::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of that many days since 1970-01-01.
pub fn civil(days: i32) -> (i32, u8, u8) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i32::from(month <= 2);
    (year, month as u8, day as u8)
}

/// Hour, minute, second and microsecond of that many microseconds since midnight.
pub fn clock(micros: i64) -> (u8, u8, u8, u32) {
    let seconds = micros / 1_000_000;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    (hour as u8, minute as u8, second as u8, (micros % 1_000_000) as u32)
}

/// Microseconds since midnight.
pub fn micros(hour: u8, minute: u8, second: u8, micro: u32) -> i64 {
    let seconds = i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second);
    seconds * 1_000_000 + i64::from(micro)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_python_survives_the_round_trip() {
        let (first, last) = (days(1, 1, 1), days(9999, 12, 31));
        assert_eq!((first, last), (FIRST_DAY, LAST_DAY));
        let mut expected = (1, 1, 1);
        for day in first..=last {
            assert_eq!(civil(day), expected);
            assert_eq!(days(expected.0, expected.1, expected.2), day);
            expected = next(expected);
        }
    }

    fn next((year, month, day): (i32, u8, u8)) -> (i32, u8, u8) {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        match (month, day) {
            (12, 31) => (year + 1, 1, 1),
            _ if day == length => (year, month + 1, 1),
            _ => (year, month, day + 1),
        }
    }

    #[test]
    fn clocks_survive_the_round_trip() {
        for value in [0, 1, 999_999, 1_000_000, 59_999_999, 3_600_000_000, MICROS_PER_DAY - 1] {
            let (hour, minute, second, micro) = clock(value);
            assert_eq!(micros(hour, minute, second, micro), value);
        }
    }
}

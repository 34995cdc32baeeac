//! Owns how times are written for programs and people.

use tarn_proto::node::Timestamp;

/// RFC 3339 in UTC, to the second.
pub fn rfc3339(at: Timestamp) -> String {
    let (days, of_day) = (at.secs.div_euclid(86_400), at.secs.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// A time as [`rfc3339`] writes it, or a date: its first moment in UTC.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let numbers = |text: &str, separator: char, widths: [usize; 3]| {
        let parts: Vec<&str> = text.split(separator).collect();
        let fits = parts.len() == 3 && parts.iter().zip(widths).all(|(part, width)| part.len() == width);
        let all: Option<Vec<i64>> = parts.iter().map(|part| part.parse().ok()).collect();
        all.filter(|all| fits && all.iter().all(|number| *number >= 0))
    };
    let (date, time) = (numbers(date, '-', [4, 2, 2])?, numbers(time.strip_suffix('Z')?, ':', [2, 2, 2])?);
    let ([year, month, day], [hour, minute, second]) = (date[..].try_into().ok()?, time[..].try_into().ok()?);
    let (year, month, day): (i64, i64, i64) = (year, month, day);
    let (hour, minute, second): (i64, i64, i64) = (hour, minute, second);
    if !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_before(year, month) + day - 1;
    // A day that the month does not have would be another date.
    let is_day = civil(days) == (year, month, day);
    is_day.then_some(Timestamp { secs: days * 86_400 + hour * 3600 + minute * 60 + second, nanos: 0 })
}

/// Days from 1970-01-01 to the first of a month: years begin in March, so that the leap day is the last of its year.
pub fn days_before(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// The date of a day since 1970-01-01 in the Gregorian calendar: counted in eras of 400 years from a March 1st, so
/// that the leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_795_213_545, "2026-11-20T22:25:45Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ];
        for (secs, text) in cases {
            assert_eq!(rfc3339(Timestamp { secs, nanos: 5 }), text);
            assert_eq!(parse_rfc3339(text), Some(Timestamp { secs, nanos: 0 }));
        }
    }

    #[test]
    fn a_date_is_its_first_moment_and_what_is_no_time_is_refused() {
        assert_eq!(parse_rfc3339("2000-02-29"), Some(Timestamp { secs: 951_782_400, nanos: 0 }));
        for bad in ["", "2001-02-29", "2000-13-01", "2000-1-1", "2000-01-01T25:00:00Z", "2000-01-01T00:00:00", "today"]
        {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }
}

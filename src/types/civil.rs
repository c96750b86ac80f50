//! Dates and timestamps as PostgreSQL counts them, and the one written form that it reads the same under every setting.
//!
//! PostgreSQL's date parser is generous: month names, `today`, two-digit years, orders that depend on `DateStyle`. To guess
//! along would be to guess wrong one day. What is read here is year-first (`2026-01-31`, `2026-01-31 12:00:00.5+02`), which
//! no setting changes; everything else is [`Parsed::Unclear`].
//!
//! The calendar is the proleptic Gregorian one, the day numbers count from 2000-01-01 (`POSTGRES_EPOCH_JDATE` in
//! `src/include/datatype/timestamp.h`); the arithmetic counts in eras of 400 years that begin on 1 March, so that the leap
//! day comes last.

/// Microseconds of a day.
pub const DAY: i64 = 86_400_000_000;
/// Days from 0000-03-01 to 2000-01-01.
const EPOCH_DAYS: i64 = 730_425;
/// The last year whose timestamps PostgreSQL surely holds (its own end is in 294276).
const LAST_YEAR: i64 = 294_275;

/// A written date or timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// A day, a time of day if there is one, and an offset if there is one (both in microseconds).
    At {
        /// Days since 2000-01-01.
        days: i32,
        /// Since midnight.
        time: Option<i64>,
        /// East of Greenwich.
        offset: Option<i64>,
    },
    /// `infinity`.
    Infinity,
    /// `-infinity`.
    MinusInfinity,
    /// No calendar has this day and no clock this time: PostgreSQL refuses it.
    Invalid,
    /// PostgreSQL may read it in a way of its own.
    Unclear,
}

/// Days since 2000-01-01 of a day that exists.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - EPOCH_DAYS
}

/// Year, month and day of a day number.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Reads a written date or timestamp.
pub fn parse(text: &str) -> Parsed {
    // The white space of PostgreSQL's isspace(); Rust's ASCII set lacks the vertical tab, which nobody writes.
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
    if text.eq_ignore_ascii_case("infinity") {
        return Parsed::Infinity;
    }
    if text.eq_ignore_ascii_case("-infinity") {
        return Parsed::MinusInfinity;
    }
    let mut cursor = Cursor(text.as_bytes());
    match date_and_time(&mut cursor) {
        Some(parsed) if cursor.0.is_empty() || parsed == Parsed::Invalid => parsed,
        _ => Parsed::Unclear,
    }
}

/// `None` where the text leaves the one form.
fn date_and_time(cursor: &mut Cursor<'_>) -> Option<Parsed> {
    let year = cursor.number(4, 6)?;
    cursor.expect(b'-')?;
    let month = cursor.number(1, 2)?;
    cursor.expect(b'-')?;
    let day = cursor.number(1, 2)?;
    if year == 0 || year > LAST_YEAR {
        return None;
    }
    let invalid_day = !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month);
    let days = || i32::try_from(days_from_civil(year, month, day)).ok();
    if cursor.0.is_empty() {
        let days = if invalid_day { return Some(Parsed::Invalid) } else { days()? };
        return Some(Parsed::At { days, time: None, offset: None });
    }
    if !(cursor.eat(b'T') || cursor.eat(b' ')) {
        return None;
    }
    let hour = cursor.number(1, 2)?;
    cursor.expect(b':')?;
    let minute = cursor.number(2, 2)?;
    let mut time = (hour * 60 + minute) * 60_000_000;
    let mut second = 0;
    if cursor.eat(b':') {
        second = cursor.number(2, 2)?;
        time += second * 1_000_000;
        if cursor.eat(b'.') {
            time += cursor.fraction()?;
        }
    }
    let offset = cursor.offset()?;
    // 24:00 and :60 are read by PostgreSQL as the next day and the next minute.
    if (hour == 24 && minute == 0) || second == 60 {
        return None;
    }
    if invalid_day || hour > 23 || minute > 59 || second > 59 {
        return cursor.0.is_empty().then_some(Parsed::Invalid);
    }
    Some(Parsed::At { days: days()?, time: Some(time), offset })
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn eat(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((&first, rest)) if first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.eat(byte).then_some(())
    }

    /// A number of `min` to `max` digits, followed by something else.
    fn number(&mut self, min: usize, max: usize) -> Option<i64> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits < min || digits > max {
            return None;
        }
        let value = self.0[..digits].iter().fold(0, |value, byte| value * 10 + i64::from(byte - b'0'));
        self.0 = &self.0[digits..];
        Some(value)
    }

    /// Microseconds; PostgreSQL rounds from the seventh digit on, so these are left to it.
    fn fraction(&mut self) -> Option<i64> {
        let before = self.0.len();
        let value = self.number(1, 6)?;
        let digits = before - self.0.len();
        Some(value * 10_i64.pow(6 - digits as u32))
    }

    /// Nothing, `Z`, `+02`, `+0230` or `+02:30`.
    fn offset(&mut self) -> Option<Option<i64>> {
        if self.0.is_empty() {
            return Some(None);
        }
        if self.eat(b'Z') {
            return Some(Some(0));
        }
        let sign = match self.0.first() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return None,
        };
        self.0 = &self.0[1..];
        let (hours, minutes) = match self.0.iter().take_while(|byte| byte.is_ascii_digit()).count() {
            4 => {
                let both = self.number(4, 4)?;
                (both / 100, both % 100)
            }
            _ => {
                let hours = self.number(2, 2)?;
                (hours, if self.eat(b':') { self.number(2, 2)? } else { 0 })
            }
        };
        (hours <= 15 && minutes <= 59).then_some(Some(sign * (hours * 60 + minutes) * 60_000_000))
    }
}

/// `YYYY-MM-DD`, or the infinity.
pub fn date_text(days: i32) -> String {
    match days {
        i32::MIN => "-infinity".to_owned(),
        i32::MAX => "infinity".to_owned(),
        _ => day_text(i64::from(days)),
    }
}

/// `YYYY-MM-DD HH:MM:SS[.ffffff]`, or the infinity.
pub fn timestamp_text(micros: i64) -> String {
    match micros {
        i64::MIN => return "-infinity".to_owned(),
        i64::MAX => return "infinity".to_owned(),
        _ => {}
    }
    let time = micros.rem_euclid(DAY);
    let (seconds, fraction) = (time / 1_000_000, time % 1_000_000);
    let day = day_text(micros.div_euclid(DAY));
    let (day, era) = day.strip_suffix(" BC").map_or((day.as_str(), ""), |day| (day, " BC"));
    let mut text = format!("{day} {:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction != 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text.push_str(era);
    text
}

fn day_text(days: i64) -> String {
    let (year, month, day) = civil_from_days(days);
    match year {
        1.. => format!("{year:04}-{month:02}-{day:02}"),
        _ => format!("{:04}-{month:02}-{day:02} BC", 1 - year),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse_over_five_thousand_years() {
        assert_eq!(days_from_civil(2000, 1, 1), 0);
        assert_eq!(days_from_civil(1970, 1, 1), -10_957);
        for days in -1_000_000..1_000_000 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days, "{year}-{month}-{day}");
        }
    }
}

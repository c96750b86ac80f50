//! Dates and timestamps as PostgreSQL counts them, and the one written form that it reads the same under every setting.
//!
//! PostgreSQL's date parser is generous: month names, `today`, two-digit years, orders that depend on `DateStyle`. To guess
//! along would be to guess wrong one day. What is read here is year-first (`2026-01-31`, `2026-01-31 12:00:00.5+02`), which
//! no setting changes; everything else is [`Parsed::Unclear`].
//!
//! The calendar is the proleptic Gregorian one, and jiff's; the day numbers count from 2000-01-01 (`POSTGRES_EPOCH_JDATE` in
//! `src/include/datatype/timestamp.h`).

use jiff::Span;
use jiff::civil::{Date, date};

/// Microseconds of a day.
pub const DAY: i64 = 86_400_000_000;
/// The last year that is read here; PostgreSQL's own end is in 294276.
const LAST_YEAR: i64 = 9_999;

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

/// 2000-01-01, from which PostgreSQL counts.
const EPOCH: Date = date(2000, 1, 1);

/// Days since 2000-01-01; none for a day that no calendar has.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i32> {
    let date = Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()?;
    Some(EPOCH.until(date).ok()?.get_days())
}

/// The day of a day number, if it is within jiff's calendar, which ends with the year 9999.
fn civil_from_days(days: i64) -> Option<Date> {
    EPOCH.checked_add(Span::new().try_days(days).ok()?).ok()
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
    let days = days_from_civil(year, month, day);
    if cursor.0.is_empty() {
        return Some(days.map_or(Parsed::Invalid, |days| Parsed::At { days, time: None, offset: None }));
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
    match days {
        Some(days) if hour <= 23 && minute <= 59 && second <= 59 => Some(Parsed::At { days, time: Some(time), offset }),
        _ => cursor.0.is_empty().then_some(Parsed::Invalid),
    }
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
    let Some(date) = civil_from_days(days) else { return format!("day {days} from 2000-01-01") };
    let (month, day) = (date.month(), date.day());
    match date.year() {
        year @ 1.. => format!("{year:04}-{month:02}-{day:02}"),
        year => format!("{:04}-{month:02}-{day:02} BC", 1 - year),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse() {
        assert_eq!(days_from_civil(2000, 1, 1), Some(0));
        assert_eq!(days_from_civil(1970, 1, 1), Some(-10_957));
        assert_eq!(days_from_civil(2026, 2, 29), None);
        for days in (-1_000_000..1_000_000).step_by(7) {
            let date = civil_from_days(days).unwrap();
            let (year, month, day) = (date.year().into(), date.month().into(), date.day().into());
            assert_eq!(days_from_civil(year, month, day).map(i64::from), Some(days), "{date}");
        }
    }

    #[test]
    fn days_beyond_the_calendar_still_have_texts_of_their_own() {
        assert_eq!(date_text(2_921_940), "day 2921940 from 2000-01-01");
        assert_eq!(date_text(-730_119), "0001-01-01");
    }
}

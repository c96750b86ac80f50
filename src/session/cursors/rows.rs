//! The rows of a cursor and its place among them, by PostgreSQL's own rules (`src/backend/tcop/pquery.c`, `DoPortalRunFetch` and
//! `PortalRunSelect`), as a pure machine: what it needs next it says, and what it is given it keeps as long as the cursor may come back to it.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::error::PgError;
use crate::protocol;
use crate::session::scatter::drive::MAX_ROW;
use crate::sql::fetch::Motion;
use crate::sqlstate::SqlState;

/// Bytes of rows that a cursor keeps to come back to.
const MOST_KEPT: usize = 64 << 20;

/// Whether a cursor goes backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scroll {
    /// SCROLL, and a cursor whose rows are all here.
    Yes,
    /// Nothing was said: as far back as rows are still here.
    Simple,
    /// NO SCROLL, or a query that PostgreSQL itself would not run backward.
    No,
}

/// One leg of a movement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Leg {
    forward: bool,
    /// None: all.
    count: Option<u64>,
    /// The rows are the client's.
    wanted: bool,
    /// Rows that it has passed.
    passed: u64,
}

/// What a movement needs or gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// This row is the client's.
    Row(Bytes),
    /// So many rows more have to be fetched from the source, or as many as there are.
    Fetch(u64),
    /// It is over; so many rows count.
    Done(u64),
}

/// The rows, and where the cursor stands.
#[derive(Debug)]
pub struct Rows {
    scroll: Scroll,
    /// Whole DataRow messages, from row `base` + 1 on.
    kept: VecDeque<Bytes>,
    bytes: usize,
    /// Rows that have been here and are not kept.
    base: u64,
    /// The source has no more.
    whole: bool,
    /// The row where it stands, counted from 1; 0 before the first, the number of rows behind the last.
    at: u64,
    at_start: bool,
    at_end: bool,
    legs: VecDeque<Leg>,
    /// What the movement counts although nothing is passed (MOVE BACKWARD ALL).
    counted: Option<u64>,
}

impl Rows {
    /// None yet.
    pub fn new(scroll: Scroll) -> Rows {
        Rows {
            scroll,
            kept: VecDeque::new(),
            bytes: 0,
            base: 0,
            whole: false,
            at: 0,
            at_start: true,
            at_end: false,
            legs: VecDeque::new(),
            counted: None,
        }
    }

    /// Rows from the source, in their order; `whole` if there are no more.
    ///
    /// # Errors
    /// A cursor that may go back to any row would keep too much (54000).
    pub fn add(&mut self, rows: &mut BytesMut, whole: bool) -> Result<(), PgError> {
        while let Some(frame) = protocol::frame(rows, MAX_ROW)? {
            let row = rows.split_to(frame.len).freeze();
            self.bytes += row.len();
            self.kept.push_back(row);
        }
        self.whole |= whole;
        self.forget();
        if self.bytes > MOST_KEPT && self.scroll == Scroll::Yes {
            return Err(PgError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "the cursor has too many rows to go back to")
                .with_detail(format!("Its rows come from several shards, and {MOST_KEPT} bytes of them may be kept."))
                .with_hint("Declare it with NO SCROLL and without HOLD, or restrict its query."));
        }
        Ok(())
    }

    /// Rows that the cursor has passed and will not come back to.
    fn forget(&mut self) {
        let bound = match self.scroll {
            Scroll::Yes => return,
            Scroll::Simple => MOST_KEPT,
            Scroll::No => 0,
        };
        // Of its own place the row stays: where it stands it may be fetched again.
        while self.bytes > bound && self.base + 1 < self.at {
            let Some(row) = self.kept.pop_front() else { return };
            self.bytes -= row.len();
            self.base += 1;
        }
    }

    /// A movement begins; `wanted` if its rows are for the client.
    ///
    /// # Errors
    /// The cursor goes only forward (55000).
    pub fn begin(&mut self, motion: Motion, wanted: bool) -> Result<(), PgError> {
        self.legs.clear();
        self.counted = None;
        let leg = |forward, count, wanted| Leg { forward, count, wanted, passed: 0 };
        let quiet = |forward, count| leg(forward, Some(count), false);
        match motion {
            Motion::Absolute(place @ 1..) => {
                let place = place.unsigned_abs();
                if place - 1 <= self.at / 2 {
                    self.rewind()?;
                    if place > 1 {
                        self.legs.push_back(quiet(true, place - 1));
                    }
                } else {
                    let here = self.at + u64::from(self.at_end);
                    if place <= here {
                        self.legs.push_back(quiet(false, here - place + 1));
                    } else if place > here + 1 {
                        self.legs.push_back(quiet(true, place - here - 1));
                    }
                }
                self.legs.push_back(leg(true, Some(1), wanted));
            }
            Motion::Absolute(0) => {
                self.rewind()?;
                self.legs.push_back(leg(true, Some(0), wanted));
            }
            Motion::Absolute(place) => {
                self.legs.push_back(leg(true, None, false));
                if place < -1 {
                    self.legs.push_back(quiet(false, place.unsigned_abs() - 1));
                }
                self.legs.push_back(leg(false, Some(1), wanted));
            }
            Motion::Relative(0) | Motion::Forward(Some(0)) | Motion::Backward(Some(0)) => self.again(wanted),
            Motion::Relative(by) => {
                let (forward, by) = (by > 0, by.unsigned_abs());
                if by > 1 {
                    self.legs.push_back(quiet(forward, by - 1));
                }
                self.legs.push_back(leg(forward, Some(1), wanted));
            }
            Motion::Backward(None) if !wanted => {
                self.counted = Some(if self.at > 0 && !self.at_end { self.at - 1 } else { self.at });
                self.rewind()?;
            }
            Motion::Forward(count) => self.legs.push_back(leg(true, count, wanted)),
            Motion::Backward(count) => self.legs.push_back(leg(false, count, wanted)),
        }
        match self.legs.iter().any(|leg| !leg.forward) && self.scroll == Scroll::No {
            true => Err(only_forward()),
            false => Ok(()),
        }
    }

    /// The row where it stands, once more.
    fn again(&mut self, wanted: bool) {
        let on_row = !self.at_start && !self.at_end;
        if !wanted {
            self.counted = Some(u64::from(on_row));
        } else if on_row {
            self.legs.push_back(Leg { forward: false, count: Some(1), wanted: false, passed: 0 });
            self.legs.push_back(Leg { forward: true, count: Some(1), wanted: true, passed: 0 });
        }
    }

    fn rewind(&mut self) -> Result<(), PgError> {
        if self.at_start && !self.at_end {
            return Ok(());
        }
        if self.scroll == Scroll::No {
            return Err(only_forward());
        }
        if self.base > 0 {
            return Err(gone());
        }
        (self.at, self.at_start, self.at_end) = (0, true, false);
        Ok(())
    }

    /// Goes on with the movement that has begun.
    ///
    /// # Errors
    /// A row is not kept any more (54000).
    pub fn step(&mut self) -> Result<Step, PgError> {
        loop {
            let Some(leg) = self.legs.front().copied() else { return Ok(Step::Done(self.counted.unwrap_or(0))) };
            let blocked = if leg.forward { self.at_end } else { self.at_start };
            let left = leg.count.map(|count| count.saturating_sub(leg.passed));
            if (blocked && leg.passed == 0) || leg.count == Some(0) {
                self.legs.pop_front();
                if self.legs.is_empty() {
                    return Ok(Step::Done(self.counted.unwrap_or(0)));
                }
                continue;
            }
            if left == Some(0) {
                self.end_leg(leg, false);
                if self.legs.is_empty() {
                    return Ok(Step::Done(leg.passed));
                }
                continue;
            }
            let next = match leg.forward {
                true => self.at + leg.passed + 1,
                false => (self.at + u64::from(self.at_end)).saturating_sub(1 + leg.passed),
            };
            if leg.forward && next > self.base + self.kept.len() as u64 && !self.whole {
                return Ok(Step::Fetch(left.unwrap_or(u64::MAX)));
            }
            let row = match next.checked_sub(self.base + 1) {
                Some(nth) => usize::try_from(nth).ok().and_then(|nth| self.kept.get(nth)).cloned(),
                None if next > 0 => return Err(gone()),
                None => None,
            };
            let Some(row) = row else {
                self.end_leg(leg, true);
                if self.legs.is_empty() {
                    return Ok(Step::Done(leg.passed));
                }
                continue;
            };
            if let Some(leg) = self.legs.front_mut() {
                leg.passed += 1;
            }
            if leg.forward && self.scroll != Scroll::Yes && leg.passed % 512 == 511 {
                self.settle_forward();
            }
            if leg.wanted {
                return Ok(Step::Row(row));
            }
        }
    }

    /// Rows that a long way forward has passed are given up on the way.
    fn settle_forward(&mut self) {
        let Some(leg) = self.legs.front().copied() else { return };
        let at = self.at;
        self.at += leg.passed;
        self.forget();
        self.at = at;
    }

    /// A leg is over; `short` if there were not so many rows.
    fn end_leg(&mut self, leg: Leg, short: bool) {
        self.legs.pop_front();
        if leg.forward {
            self.at_start &= leg.passed == 0;
            self.at_end |= short || leg.count.is_none();
            self.at += leg.passed;
        } else {
            if leg.passed > 0 && self.at_end {
                self.at_end = false;
                self.at += 1;
            }
            if short || leg.count.is_none() {
                (self.at, self.at_start) = (0, true);
            } else {
                self.at -= leg.passed;
            }
        }
        self.forget();
    }
}

fn only_forward() -> PgError {
    PgError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "cursor can only scan forward")
        .with_hint("Declare it with SCROLL option to enable backward scan.")
}

fn gone() -> PgError {
    PgError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "the cursor's earlier rows are not kept any more")
        .with_detail(format!("Its rows come from several shards, and {MOST_KEPT} bytes of them are kept."))
        .with_hint("Declare it with SCROLL, or restrict its query.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::encode;

    /// A cursor over 1 to `last`, and what it answers to one movement after the other.
    fn walk(scroll: Scroll, last: u32, motions: &[Motion]) -> Vec<String> {
        let mut rows = Rows::new(scroll);
        let mut next = 1;
        motions.iter().map(|motion| answer(&mut rows, &mut next, last, *motion)).collect()
    }

    fn answer(rows: &mut Rows, next: &mut u32, last: u32, motion: Motion) -> String {
        let mut said = Vec::new();
        if let Err(error) = rows.begin(motion, true) {
            return error.code.to_string();
        }
        loop {
            match rows.step() {
                Ok(Step::Row(row)) => said.push(String::from_utf8_lossy(&row[11..]).into_owned()),
                Ok(Step::Fetch(count)) => {
                    let mut some = BytesMut::new();
                    let until = last.min(next.saturating_add(count.min(2) as u32 - 1));
                    for n in *next..=until {
                        encode::data_row(&mut some, [Some(n.to_string())].into_iter());
                    }
                    *next = until + 1;
                    rows.add(&mut some, until == last).unwrap();
                }
                Ok(Step::Done(count)) => {
                    said.push(format!("/{count}"));
                    return said.join(" ");
                }
                Err(error) => return error.code.to_string(),
            }
        }
    }

    #[test]
    fn a_scrolling_cursor_walks_as_postgresql_says() {
        use Motion::{Absolute, Backward, Forward, Relative};
        let said = walk(
            Scroll::Yes,
            5,
            &[
                Forward(Some(2)),
                Backward(Some(1)),
                Backward(Some(1)),
                Forward(None),
                Backward(Some(2)),
                Absolute(3),
                Relative(0),
                Relative(-2),
                Absolute(-2),
                Absolute(0),
                Forward(Some(1)),
                Absolute(9),
                Backward(None),
                Forward(Some(0)),
                Relative(5),
                Forward(Some(1)),
                Absolute(-9),
            ],
        );
        let expected = [
            "1 2 /2",
            "1 /1",
            "/0",
            "1 2 3 4 5 /5",
            "5 4 /2",
            "3 /1",
            "3 /1",
            "1 /1",
            "4 /1",
            "/0",
            "1 /1",
            "/0",
            "5 4 3 2 1 /5",
            "/0",
            "5 /1",
            "/0",
            "/0",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn one_without_scroll_does_not_turn_back() {
        use Motion::{Absolute, Backward, Forward};
        let motions = [Forward(Some(2)), Backward(Some(1)), Absolute(1), Absolute(4), Forward(None), Absolute(0)];
        assert_eq!(walk(Scroll::No, 5, &motions), ["1 2 /2", "55000", "55000", "4 /1", "5 /1", "55000"]);
    }

    #[test]
    fn rows_that_are_not_needed_any_more_are_given_up() {
        let mut rows = Rows::new(Scroll::No);
        let mut next = 1;
        assert!(answer(&mut rows, &mut next, 5000, Motion::Forward(None)).ends_with("/5000"));
        assert!(rows.kept.len() <= 1, "{}", rows.kept.len());
    }
}

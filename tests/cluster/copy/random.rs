//! Made-up data, mostly wrong: Goldseam takes what PostgreSQL takes, refuses what it refuses with the same words, and no row is read otherwise.

use super::stage::Stage;

/// A small generator: the same data in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }

    fn pick<'p>(&mut self, from: &[&'p str]) -> &'p str {
        from[self.roll(from.len())]
    }
}

const PIECES: &[&str] = &[
    "a", "7", "\\", "\\\\", "\\.", "\"", "\"\"", ",", "\t", "'", "\\N", "\\t", "\\x41", "\\101", ";", " ", "é", "\\n",
    "",
];

fn data(dice: &mut Dice, csv: bool) -> String {
    let eol = dice.pick(&["\n", "\n", "\n", "\r\n", "\r"]).to_string();
    let delimiter = if csv { "," } else { "\t" };
    let mut out = String::new();
    for row in 0..dice.roll(6) {
        for column in 0..2 {
            if column == 1 {
                out += delimiter;
            }
            let quoted = csv && dice.roll(3) == 0;
            if quoted {
                out.push('"');
            }
            for _ in 0..dice.roll(4) {
                let piece = dice.pick(PIECES);
                // What splits rows or fields is rare enough for many rows to be right.
                if (piece == delimiter || piece == "\"" || piece == "\\.") && dice.roll(4) > 0 {
                    continue;
                }
                out += piece;
            }
            if quoted {
                if dice.roll(3) == 0 {
                    out += &eol;
                }
                out.push('"');
            }
        }
        let _ = row;
        out += match dice.roll(12) {
            0 => "\n",
            1 => "\r\n",
            _ => &eol,
        };
    }
    if dice.roll(5) == 0 {
        out += "\\.";
        out += &eol;
    }
    if dice.roll(6) == 0 {
        out.pop();
    }
    out
}

#[test]
fn made_up_data_is_read_as_postgresql_reads_it() {
    let mut stage = Stage::new();
    let mut dice = Dice(20_261_124);
    let (mut taken, mut refused) = (0, 0);
    for sql in [
        "COPY loose_text FROM STDIN",
        "COPY loose_text FROM STDIN CSV",
        "COPY loose_text FROM STDIN (FORMAT csv, ESCAPE '\\', HEADER)",
    ] {
        let sql = sql.replace("loose_text", "pairs_text");
        for _ in 0..400 {
            let data = data(&mut dice, sql.to_lowercase().contains("csv"));
            let step = 1 + dice.roll(40);
            let heard = stage.copy_in(&sql, data.as_bytes(), step);
            match heard.iter().any(|said| said.starts_with('E')) {
                true => refused += 1,
                false => taken += 1,
            }
        }
        stage.same_table("pairs_text");
        stage.same("DELETE FROM pairs_text");
    }
    assert!(taken > 200 && refused > 200, "{taken} taken, {refused} refused");
}

//! Floats as PostgreSQL prints them: the shortest text that reads back as the same float.
//!
//! PostgreSQL (`src/common/d2s.c`, `f2s.c`) takes the shortest decimal *strictly* within the interval that rounds to
//! the float, Rust one that may also lie on the interval's end, where reading rounds to even: the double next to 10^23
//! is `9.999999999999999e+22` there and `1e23` here. So a decimal on an end is passed over. Fixed notation is used from
//! 10^-4 on and below 10^15 (float4: 10^6).

use std::fmt::Write as _;

/// The text form of a `float8`.
pub(super) fn float8(value: f64) -> String {
    if let Some(special) = special(value) {
        return special.to_owned();
    }
    let bits = value.to_bits();
    let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i32, bits & ((1 << 52) - 1));
    let binary = Binary::new(exponent, fraction, 52, 1_075);
    let reads_back = |text: &str| text.parse::<f64>().is_ok_and(|read| read == value.abs());
    write(
        value.is_sign_negative(),
        &binary.shortest(
            &format!("{:e}", value.abs()),
            |precision| format!("{:.precision$e}", value.abs()),
            reads_back,
            17,
        ),
        15,
    )
}

/// The text form of a `float4`.
pub(super) fn float4(value: f32) -> String {
    if let Some(special) = special(value.into()) {
        return special.to_owned();
    }
    let bits = value.to_bits();
    let (exponent, fraction) = ((bits >> 23 & 0xff) as i32, u64::from(bits & ((1 << 23) - 1)));
    let binary = Binary::new(exponent, fraction, 23, 150);
    let reads_back = |text: &str| text.parse::<f32>().is_ok_and(|read| read == value.abs());
    write(
        value.is_sign_negative(),
        &binary.shortest(
            &format!("{:e}", value.abs()),
            |precision| format!("{:.precision$e}", value.abs()),
            reads_back,
            9,
        ),
        6,
    )
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else if value == 0.0 {
        Some(if value.is_sign_negative() { "-0" } else { "0" })
    } else {
        None
    }
}

/// `digits` * 10^`exponent`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Decimal {
    digits: u64,
    exponent: i32,
}

/// A float's exact value, `mantissa` * 2^`exponent`.
struct Binary {
    mantissa: u64,
    exponent: i32,
    /// The next smaller float is only half as far away as the next greater one.
    power: bool,
}

impl Binary {
    fn new(exponent: i32, fraction: u64, width: u32, bias: i32) -> Binary {
        match exponent {
            0 => Binary { mantissa: fraction, exponent: 1 - bias, power: false },
            _ => Binary {
                mantissa: fraction | 1 << width,
                exponent: exponent - bias,
                power: fraction == 0 && exponent > 1,
            },
        }
    }

    /// The shortest decimal strictly within the interval, the one nearest to the float if there are several. `first` is
    /// the shortest that may lie on an end; `rounded` gives the float with so many decimals.
    fn shortest(
        &self,
        first: &str,
        rounded: impl Fn(usize) -> String,
        reads_back: impl Fn(&str) -> bool,
        longest: usize,
    ) -> Decimal {
        let valid = |candidate: Decimal| {
            !self.is_end(candidate) && reads_back(&format!("{}e{}", candidate.digits, candidate.exponent))
        };
        let first = Decimal::read(first);
        if !self.is_end(first) {
            return self.even(first, valid);
        }
        let shown = first.digits.checked_ilog10().unwrap_or(0) as usize;
        for precision in shown..longest {
            let nearest = Decimal::read_exactly(&rounded(precision));
            for digits in [nearest.digits, nearest.digits + 1, nearest.digits.saturating_sub(1)] {
                let candidate = Decimal { digits, ..nearest };
                if valid(candidate) {
                    return self.even(candidate.stripped(), valid);
                }
            }
        }
        // Not reached: `longest` digits tell any two floats apart.
        first
    }

    /// Of two decimals that are equally near PostgreSQL takes the one with an even last digit.
    fn even(&self, nearest: Decimal, valid: impl Fn(Decimal) -> bool) -> Decimal {
        let Decimal { digits, exponent } = nearest;
        let own = Some((
            u128::from(self.mantissa >> self.mantissa.trailing_zeros()),
            self.exponent + self.mantissa.trailing_zeros() as i32,
        ));
        let is_exact = |digits: u64| Decimal { digits, exponent: exponent - 1 }.odd() == own;
        let other = match digits % 2 == 1 {
            true if is_exact(10 * digits - 5) => Decimal { digits: digits - 1, exponent },
            true if is_exact(10 * digits + 5) => Decimal { digits: digits + 1, exponent },
            _ => return nearest,
        };
        if valid(other) { other.stripped() } else { nearest }
    }

    /// Whether the decimal lies exactly half-way to a neighbour.
    fn is_end(&self, decimal: Decimal) -> bool {
        let mantissa = u128::from(self.mantissa);
        let upper = (2 * mantissa + 1, self.exponent - 1);
        let lower = match self.power {
            true => (4 * mantissa - 1, self.exponent - 2),
            false => (2 * mantissa - 1, self.exponent - 1),
        };
        decimal.odd().is_some_and(|decimal| decimal == upper || decimal == lower)
    }
}

impl Decimal {
    /// From `d.ddde±n`, without zeros at the end.
    fn read(text: &str) -> Decimal {
        Decimal::read_exactly(text).stripped()
    }

    fn read_exactly(text: &str) -> Decimal {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = whole.bytes().chain(fraction.bytes()).fold(0, |digits, byte| digits * 10 + u64::from(byte - b'0'));
        Decimal { digits, exponent: exponent.parse().unwrap_or(0) - fraction.len() as i32 }
    }

    /// The decimal as an odd number times a power of two, which is how it is compared with binary ones: there is only
    /// one such form. None if it is no such number, or one beyond any float's.
    fn odd(self) -> Option<(u128, i32)> {
        // Beyond, the factor 5^n is greater than any mantissa, or does not divide the digits.
        if self.exponent.abs() > 27 || self.digits == 0 {
            return None;
        }
        let fives = 5_u128.pow(self.exponent.unsigned_abs());
        let digits = u128::from(self.digits);
        let whole = match self.exponent < 0 {
            false => digits * fives,
            true if digits.is_multiple_of(fives) => digits / fives,
            true => return None,
        };
        Some((whole >> whole.trailing_zeros(), self.exponent + whole.trailing_zeros() as i32))
    }

    fn stripped(mut self) -> Decimal {
        while self.digits != 0 && self.digits.is_multiple_of(10) {
            self.digits /= 10;
            self.exponent += 1;
        }
        self
    }
}

/// Fixed notation, or from 10^`fixed` on and below 10^-4 the scientific one with at least two digits of exponent.
fn write(negative: bool, decimal: &Decimal, fixed: i32) -> String {
    let digits = decimal.digits.to_string();
    let scientific = decimal.exponent + digits.len() as i32 - 1;
    let mut text = String::with_capacity(26);
    if negative {
        text.push('-');
    }
    if (-4..fixed).contains(&scientific) {
        let point = digits.len() as i32 + decimal.exponent;
        if point <= 0 {
            text.push_str("0.");
            text.extend(std::iter::repeat_n('0', point.unsigned_abs() as usize));
            text.push_str(&digits);
        } else if let Some((whole, fraction)) =
            digits.split_at_checked(point as usize).filter(|(_, rest)| !rest.is_empty())
        {
            text.push_str(whole);
            text.push('.');
            text.push_str(fraction);
        } else {
            text.push_str(&digits);
            text.extend(std::iter::repeat_n('0', decimal.exponent.max(0) as usize));
        }
        return text;
    }
    let (first, rest) = digits.split_at(1);
    text.push_str(first);
    if !rest.is_empty() {
        text.push('.');
        text.push_str(rest);
    }
    let sign = if scientific < 0 { '-' } else { '+' };
    // Writing into a String cannot fail.
    let _ = write!(text, "e{sign}{:02}", scientific.unsigned_abs());
    text
}

#[cfg(test)]
mod tests;

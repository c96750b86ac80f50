//! What `SHOW STATS` calls averages: of the last whole period, as PgBouncer's `stats_period`.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Sums;

/// PgBouncer's default.
const PERIOD: Duration = Duration::from_secs(60);

/// The sums at the beginning and at the end of the last period.
#[derive(Debug, Default)]
pub struct Averages {
    period: Mutex<Period>,
}

#[derive(Debug, Default)]
struct Period {
    begun: Option<(Instant, Sums)>,
    last: Option<(Duration, Sums)>,
}

impl Averages {
    /// Begins a new period when the old one is over.
    pub fn renew(&self, sums: Sums, now: Instant) {
        let mut period = self.period.lock();
        match period.begun {
            None => period.begun = Some((now, sums)),
            Some((since, before)) if now.duration_since(since) >= PERIOD => {
                period.last = Some((now.duration_since(since), sums.since(&before)));
                period.begun = Some((now, sums));
            }
            Some(_) => {}
        }
    }

    /// How long the last period was, and what happened in it; of the one that runs if it is the first.
    pub fn read(&self, sums: &Sums, now: Instant) -> (Duration, Sums) {
        let period = self.period.lock();
        let running = || period.begun.as_ref().map(|(since, before)| (now.duration_since(*since), sums.since(before)));
        period.last.or_else(running).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_kept_until_the_next_is_over() {
        let (averages, start) = (Averages::default(), Instant::now());
        let sums = |sent| Sums { sent, ..Sums::default() };
        let at = |seconds| start + Duration::from_secs(seconds);
        averages.renew(sums(10), at(0));
        assert_eq!(averages.read(&sums(15), at(5)), (Duration::from_secs(5), sums(5)));
        averages.renew(sums(70), at(60));
        averages.renew(sums(99), at(61));
        assert_eq!(averages.read(&sums(99), at(62)), (PERIOD, sums(60)));
    }
}

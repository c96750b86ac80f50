//! Sums over everything that happens, each thread adding to a stripe of its own.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::plan::RouteKind;

/// More threads than stripes share; that costs time, not correctness.
const STRIPES: usize = 16;

macro_rules! sums {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The sums at one moment.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Sums {
            $($(#[$doc])* pub $name: u64,)*
            /// Statements by [`RouteKind`].
            pub routes: [u64; RouteKind::ALL.len()],
        }

        /// One thread's part; a cache line or two of its own.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        struct Stripe {
            $($name: AtomicU64,)*
            routes: [AtomicU64; RouteKind::ALL.len()],
        }

        impl Stripe {
            fn add(&self, more: &Sums) {
                $(if more.$name > 0 { self.$name.fetch_add(more.$name, Relaxed); })*
                for (sum, more) in self.routes.iter().zip(more.routes) {
                    if more > 0 { sum.fetch_add(more, Relaxed); }
                }
            }

            fn add_to(&self, sums: &mut Sums) {
                $(sums.$name += self.$name.load(Relaxed);)*
                for (sum, more) in sums.routes.iter_mut().zip(&self.routes) {
                    *sum += more.load(Relaxed);
                }
            }
        }

        impl Sums {
            /// What has come since an earlier moment.
            pub fn since(&self, earlier: &Sums) -> Sums {
                let mut routes = self.routes;
                routes.iter_mut().zip(earlier.routes).for_each(|(now, then)| *now = now.saturating_sub(then));
                Sums { $($name: self.$name.saturating_sub(earlier.$name),)* routes }
            }
        }
    };
}

sums! {
    /// Transactions that ended, single statements among them.
    transactions,
    /// Their time, in nanoseconds.
    transaction_nanos,
    /// Statements that ended, in whichever way.
    statements,
    /// Their time, in nanoseconds.
    statement_nanos,
    /// Time for which statements waited for a server connection, in nanoseconds.
    wait_nanos,
    /// Server connections lent to clients.
    assignments,
    /// Bytes from clients.
    received,
    /// Bytes to clients.
    sent,
    /// Parse messages of clients.
    client_parses,
    /// Parse messages to servers.
    server_parses,
    /// Bind messages.
    binds,
    /// Statements whose plan was known.
    plan_hits,
    /// Statements that had to be planned.
    plan_misses,
    /// Statements that took longer than `log.slow`.
    slow,
    /// Transactions that were committed on several shards.
    two_phase_commits,
}

impl Sums {
    /// Statements answered in one way.
    pub fn route(&self, route: RouteKind) -> u64 {
        self.routes[route as usize]
    }
}

/// The sums.
#[derive(Debug, Default)]
pub struct Totals {
    stripes: [Stripe; STRIPES],
}

impl Totals {
    /// Adds what is not zero.
    pub fn add(&self, more: &Sums) {
        self.stripes[stripe()].add(more);
    }

    /// A statement's plan was known, or not.
    pub fn plan(&self, known: bool) {
        let stripe = &self.stripes[stripe()];
        let sum = if known { &stripe.plan_hits } else { &stripe.plan_misses };
        sum.fetch_add(1, Relaxed);
    }

    /// The sums as they stand.
    pub fn read(&self) -> Sums {
        let mut sums = Sums::default();
        self.stripes.iter().for_each(|stripe| stripe.add_to(&mut sums));
        sums
    }
}

/// This thread's stripe.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Relaxed) % STRIPES);
        }
        mine.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_to_one_sum() {
        let totals = Totals::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        totals.add(&Sums { statements: 1, routes: [0, 1, 0, 0, 0, 0], ..Sums::default() });
                    }
                });
            }
        });
        let sums = totals.read();
        assert_eq!((sums.statements, sums.route(RouteKind::Scatter), sums.sent), (20_000, 20_000, 0));
        assert_eq!(sums.since(&sums), Sums::default());
    }
}

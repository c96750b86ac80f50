//! One shard's connections and the queue for them.
//!
//! A *place* is the right to have one connection; it is counted before the connection is made and until it is closed. Everything is under one
//! lock that is held for a few memory accesses at a time. Invariant: nobody waits while there is an idle connection of theirs, or
//! a free place; each function that frees something ends by giving it to whoever is first.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::lease::{Lease, Slot, Waiter};
use super::{Gate, PoolStats, Pools, UserCount, outlived};
use crate::backend::{Backend, Login, Seen};
use crate::config;
use crate::error::PgError;
use crate::sqlstate::SqlState;
use crate::topology::{Health, ShardInfo};

/// What somebody who wants a connection gets.
#[derive(Debug)]
pub(super) enum Turn {
    /// A connection that has been idle for so long that it should be tried first, or one that just came back.
    Idle(Lease),
    /// A place: make one.
    Open(Slot),
    /// Wait.
    Wait(Waiter),
}

/// What a waiter is sent.
#[derive(Debug)]
pub(super) enum Grant {
    Backend(Box<Backend>),
    Place,
}

/// One shard's connections.
#[derive(Debug)]
pub(super) struct ShardPool {
    info: Arc<ShardInfo>,
    limits: Arc<ArcSwap<config::Pool>>,
    gate: Arc<Gate>,
    pools: Weak<Pools>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The shard is gone: nothing is kept any more.
    shut: bool,
    /// Connections made before are closed when they come back.
    close_before: Option<Instant>,
    /// Places taken, all logins together.
    open: usize,
    /// Orders the waiters of different logins.
    next_ticket: u64,
    logins: HashMap<Arc<Login>, LoginState>,
    /// The connections, for whoever lists them; those that are gone are taken out now and then.
    seen: Vec<Weak<Seen>>,
}

#[derive(Debug)]
struct LoginState {
    user: Arc<UserCount>,
    /// The longest idle first; taken from the end, so that what is not needed grows old.
    idle: Vec<(Instant, Box<Backend>)>,
    /// Places taken: idle, on loan, being made.
    open: usize,
    connecting: usize,
    waiters: VecDeque<(u64, Instant, oneshot::Sender<Grant>)>,
    warm: bool,
    loans: u64,
}

impl ShardPool {
    pub fn new(
        info: Arc<ShardInfo>,
        limits: Arc<ArcSwap<config::Pool>>,
        gate: Arc<Gate>,
        pools: Weak<Pools>,
    ) -> Arc<ShardPool> {
        let state = State {
            shut: false,
            close_before: None,
            open: 0,
            next_ticket: 0,
            logins: HashMap::new(),
            seen: Vec::new(),
        };
        Arc::new(ShardPool { info, limits, gate, pools, state: Mutex::new(state) })
    }

    pub fn info(&self) -> &Arc<ShardInfo> {
        &self.info
    }

    pub fn health(&self) -> &Health {
        &self.info.health
    }

    /// The connection that was idle for the shortest time, unless others wait for one or it should be tried first.
    pub fn try_checkout(self: &Arc<Self>, login: &Arc<Login>) -> Option<Lease> {
        let fresh = self.limits.load().health_check_interval;
        loop {
            let backend = {
                let mut state = self.state.lock();
                let pool = state.logins.get_mut(login)?;
                if !pool.waiters.is_empty() || pool.idle.last()?.0.elapsed() > fresh {
                    return None;
                }
                pool.loans += 1;
                pool.idle.pop()?.1
            };
            let mut lease = Lease::new(self.clone(), login.clone(), backend);
            if lease.is_alive() {
                return Some(lease);
            }
            // Dropped: its place comes free. The next idle one may have outlived it.
        }
    }

    /// An idle connection of whatever age, a place, or a place in the queue.
    pub fn take_turn(self: &Arc<Self>, login: &Arc<Login>, user: Arc<UserCount>) -> Turn {
        let limits = self.limits.load();
        let mut state = self.state.lock();
        let state = &mut *state;
        let pool = state.logins.entry(login.clone()).or_insert_with(|| LoginState::new(user));
        if pool.waiters.is_empty() {
            if let Some((_, backend)) = pool.idle.pop() {
                pool.loans += 1;
                return Turn::Idle(Lease::new(self.clone(), login.clone(), backend));
            }
            if state.open >= limits.max_shard_connections.unwrap_or(usize::MAX) && pool.open < limits.size {
                state.evict_oldest_idle();
            }
            if state.take_place(login, &limits) {
                return Turn::Open(Slot::new(self.clone(), login.clone()));
            }
        }
        let (sender, receiver) = oneshot::channel();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        if let Some(pool) = state.logins.get_mut(login) {
            pool.user.waiting.fetch_add(1, Ordering::AcqRel);
            pool.waiters.push_back((ticket, Instant::now(), sender));
        }
        Turn::Wait(Waiter::new(self.clone(), login.clone(), ticket, receiver))
    }

    /// A place beyond all limits, for whoever holds other connections already and must not wait for one.
    pub fn extra(self: &Arc<Self>, login: &Arc<Login>, user: Arc<UserCount>) -> Slot {
        let mut state = self.state.lock();
        let state = &mut *state;
        let pool = state.logins.entry(login.clone()).or_insert_with(|| LoginState::new(user));
        pool.user.open.fetch_add(1, Ordering::AcqRel);
        pool.open += 1;
        pool.connecting += 1;
        state.open += 1;
        Slot::new(self.clone(), login.clone())
    }

    /// A connection comes back: to whoever waits, to rest, or to its end.
    pub fn give_back(self: &Arc<Self>, login: &Arc<Login>, mut backend: Box<Backend>) {
        let limits = self.limits.load();
        let now = Instant::now();
        if !backend.is_clean() || outlived(&backend, limits.max_lifetime, now) {
            return self.close(login, *backend);
        }
        let mut state = self.state.lock();
        if state.shut || state.close_before.is_some_and(|bound| backend.since <= bound) {
            drop(state);
            return self.close(login, *backend);
        }
        let others_wait = limits.max_shard_connections.is_some_and(|limit| state.open >= limit)
            && state.logins.iter().any(|(other, pool)| other != login && !pool.waiters.is_empty());
        let Some(pool) = state.logins.get_mut(login) else { return };
        backend.seen.returned(backend.prepared.len());
        while let Some((_, _, sender)) = pool.next_waiter() {
            match sender.send(Grant::Backend(backend)) {
                Ok(()) => {
                    pool.loans += 1;
                    return;
                }
                // Gone in the meantime.
                Err(Grant::Backend(back)) => backend = back,
                Err(Grant::Place) => unreachable!("a connection was sent"),
            }
        }
        let wanted_elsewhere = limits.max_user_connections.is_some_and(|limit| {
            pool.user.waiting.load(Ordering::Acquire) > 0 && pool.user.open.load(Ordering::Acquire) >= limit
        });
        // Also above a limit that a reload has lowered.
        if others_wait || wanted_elsewhere || pool.open > limits.size || self.gate.is_closed() {
            drop(state);
            return self.close(login, *backend);
        }
        backend.shrink();
        pool.idle.push((now, backend));
    }

    fn close(self: &Arc<Self>, login: &Arc<Login>, backend: Backend) {
        backend.close();
        self.free_place(login);
    }

    /// A place comes free: a connection was closed, or was not made.
    pub fn free_place(self: &Arc<Self>, login: &Arc<Login>) {
        let user = {
            let mut state = self.state.lock();
            let user = state.free_place(login);
            self.grant_places(&mut state);
            user
        };
        if let (Some(user), Some(pools)) = (user, self.pools.upgrade()) {
            pools.offer_elsewhere(&user);
        }
    }

    /// A connection is being made no longer.
    pub fn connected(&self, login: &Arc<Login>, success: bool) {
        if let Some(pool) = self.state.lock().logins.get_mut(login) {
            pool.connecting = pool.connecting.saturating_sub(1);
            pool.loans += u64::from(success);
        }
    }

    /// A connection on loan was found dead, and another is made in its place.
    pub fn reconnecting(&self, login: &Arc<Login>) {
        if let Some(pool) = self.state.lock().logins.get_mut(login) {
            pool.connecting += 1;
        }
    }

    /// A waiter gives up; what it was granted at the last moment goes to the next.
    pub fn leave_queue(self: &Arc<Self>, login: &Arc<Login>, ticket: u64, granted: Option<Grant>) {
        match granted {
            Some(Grant::Backend(backend)) => self.give_back(login, backend),
            Some(Grant::Place) => {
                self.connected(login, false);
                self.free_place(login);
            }
            None => {
                let mut state = self.state.lock();
                let Some(pool) = state.logins.get_mut(login) else { return };
                if let Ok(index) = pool.waiters.binary_search_by_key(&ticket, |waiter| waiter.0) {
                    pool.waiters.remove(index);
                    pool.user.waiting.fetch_sub(1, Ordering::AcqRel);
                }
            }
        }
    }

    /// Gives free places to whoever waits, as after a change of limits.
    pub fn dispatch(&self) {
        self.grant_places(&mut self.state.lock());
    }

    /// First come, first served among the logins that may have one more.
    fn grant_places(&self, state: &mut State) {
        let limits = self.limits.load();
        loop {
            let first = state
                .logins
                .iter()
                .filter(|(_, pool)| pool.open < limits.size)
                .filter_map(|(login, pool)| Some((pool.waiters.front()?.0, login)))
                .min_by_key(|&(ticket, _)| ticket);
            let Some(login) = first.map(|(_, login)| login.clone()) else { return };
            if !state.take_place(&login, &limits) {
                return;
            }
            let sent = state
                .logins
                .get_mut(&login)
                .and_then(LoginState::next_waiter)
                .is_some_and(|(_, _, sender)| sender.send(Grant::Place).is_ok());
            if !sent {
                if let Some(pool) = state.logins.get_mut(&login) {
                    pool.connecting -= 1;
                }
                state.free_place(&login);
            }
        }
    }

    pub fn register(&self, login: &Arc<Login>, user: &Arc<UserCount>) {
        let mut state = self.state.lock();
        state.logins.entry(login.clone()).or_insert_with(|| LoginState::new(user.clone())).warm = true;
    }

    /// Closes one idle connection of a user; says whether there was one.
    pub fn evict_idle_of(&self, user: &str) -> bool {
        let mut state = self.state.lock();
        let found = state.logins.iter().find(|(login, pool)| login.user == user && !pool.idle.is_empty());
        let Some(login) = found.map(|(login, _)| login.clone()) else { return false };
        state.evict(&login);
        true
    }

    /// The shard is gone: closes what is idle, sends waiters away; the logins that were kept warm.
    pub fn shut(&self) -> Vec<(Arc<Login>, Arc<UserCount>)> {
        let mut state = self.state.lock();
        state.shut = true;
        let logins: Vec<Arc<Login>> = state.logins.keys().cloned().collect();
        let mut warm = Vec::new();
        for login in logins {
            while state.evict(&login) {}
            let Some(pool) = state.logins.get_mut(&login) else { continue };
            pool.user.waiting.fetch_sub(pool.waiters.len(), Ordering::AcqRel);
            pool.waiters.clear();
            if pool.warm {
                warm.push((login, pool.user.clone()));
            }
        }
        warm
    }

    /// Closes what is idle now, and what is on loan when it comes back.
    pub fn close_all(&self) {
        let mut state = self.state.lock();
        state.close_before = Some(Instant::now());
        let logins: Vec<Arc<Login>> = state.logins.keys().cloned().collect();
        for login in logins {
            while state.evict(&login) {}
        }
        self.grant_places(&mut state);
    }

    /// Closes what is too old, forgets logins without connections, and takes places for what should be warm.
    pub fn tidy(self: &Arc<Self>) -> Vec<Slot> {
        let (limits, now) = (self.limits.load(), Instant::now());
        let mut state = self.state.lock();
        let logins: Vec<Arc<Login>> = state.logins.keys().cloned().collect();
        let mut wanted = Vec::new();
        for login in logins {
            let mut old = 0;
            let Some(pool) = state.logins.get_mut(&login) else { continue };
            let least = if pool.warm { limits.min_idle } else { 0 };
            let count = pool.idle.len();
            pool.idle.retain(|(since, backend)| {
                let spare = count - old > least && now.duration_since(*since) > limits.idle_timeout;
                let keep = !spare && !outlived(backend, limits.max_lifetime, now);
                old += usize::from(!keep);
                keep
            });
            (0..old).for_each(|_| drop(state.free_place(&login)));
            let Some(pool) = state.logins.get(&login) else { continue };
            let missing = least.saturating_sub(pool.idle.len() + pool.connecting);
            if pool.open == 0 && !pool.warm && pool.waiters.is_empty() {
                state.logins.remove(&login);
            } else if missing > 0 && !state.shut && !self.gate.is_closed() && self.health().check(now).is_ok() {
                (0..missing).filter(|_| state.take_place(&login, &limits)).for_each(|_| wanted.push(login.clone()));
            }
        }
        self.grant_places(&mut state);
        drop(state);
        wanted.into_iter().map(|login| Slot::new(self.clone(), login)).collect()
    }

    /// A connection has been made.
    pub fn show(&self, seen: &Arc<Seen>) {
        let mut state = self.state.lock();
        // Twice as many as there are: seldom, and yet bounded.
        if state.seen.len() > 2 * state.open + 8 {
            state.seen.retain(|known| known.strong_count() > 0);
        }
        state.seen.push(Arc::downgrade(seen));
    }

    /// The connections.
    pub fn servers(&self) -> Vec<Arc<Seen>> {
        let state = self.state.lock();
        let close_before = state.close_before;
        let all: Vec<Arc<Seen>> = state.seen.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        all.iter().for_each(|seen| seen.set_closing(close_before.is_some_and(|bound| seen.since <= bound)));
        all
    }

    pub fn stats(&self) -> Vec<PoolStats> {
        let (limits, state) = (self.limits.load(), self.state.lock());
        let row = |(login, pool): (&Arc<Login>, &LoginState)| PoolStats {
            shard: self.info.id,
            shard_name: self.info.name.clone(),
            user: login.user.clone(),
            database: login.database.clone().unwrap_or_else(|| self.info.primary.server.database.clone()),
            active: pool.open.saturating_sub(pool.idle.len() + pool.connecting),
            idle: pool.idle.len(),
            connecting: pool.connecting,
            waiting: pool.waiters.len(),
            max_wait: pool.waiters.front().map_or(Duration::ZERO, |(_, since, _)| since.elapsed()),
            size: limits.size,
            loans: pool.loans,
            up: self.health().is_up(),
            service: *login == self.info.service,
        };
        state.logins.iter().map(row).collect()
    }

    /// The error of somebody who waited in vain: `53300`, saying which limit is full.
    pub fn full(&self, login: &Login, waited: Duration) -> PgError {
        let (limits, state) = (self.limits.load(), self.state.lock());
        let pool = state.logins.get(login);
        let (open, waiting) = pool.map_or((0, 0), |pool| (pool.open, pool.waiters.len()));
        let (what, setting) = if open >= limits.size {
            (format!("All {open} connections of user \"{}\" to this shard are in use", login.user), "pool.size")
        } else if limits.max_shard_connections.is_some_and(|limit| state.open >= limit) {
            (format!("All {} connections to this shard are in use", state.open), "pool.max_shard_connections")
        } else {
            (format!("All connections of user \"{}\" are in use", login.user), "pool.max_user_connections")
        };
        let name = &self.info.name;
        PgError::new(
            SqlState::TOO_MANY_CONNECTIONS,
            format!("no connection to shard \"{name}\" came free within {waited:?} (pool.queue_timeout)"),
        )
        .with_detail(format!("{what} ({setting}), and {waiting} sessions wait for one."))
        .with_hint(format!("Keep transactions short, or raise {setting}."))
    }
}

impl State {
    /// Takes a place for a connection about to be made, if every limit allows it.
    fn take_place(&mut self, login: &Arc<Login>, limits: &config::Pool) -> bool {
        let Some(pool) = self.logins.get_mut(login) else { return false };
        if self.shut || pool.open >= limits.size || self.open >= limits.max_shard_connections.unwrap_or(usize::MAX) {
            return false;
        }
        let limit = limits.max_user_connections.unwrap_or(usize::MAX);
        let one_more = |open: usize| (open < limit).then_some(open + 1);
        if pool.user.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_err() {
            return false;
        }
        pool.open += 1;
        pool.connecting += 1;
        self.open += 1;
        true
    }

    fn free_place(&mut self, login: &Arc<Login>) -> Option<Arc<UserCount>> {
        let pool = self.logins.get_mut(login)?;
        pool.open -= 1;
        self.open -= 1;
        pool.user.open.fetch_sub(1, Ordering::AcqRel);
        Some(pool.user.clone())
    }

    /// Closes a login's longest idle connection; says whether there was one.
    fn evict(&mut self, login: &Arc<Login>) -> bool {
        match self.logins.get_mut(login) {
            Some(pool) if !pool.idle.is_empty() => {
                pool.idle.remove(0).1.close();
                self.free_place(login);
                true
            }
            _ => false,
        }
    }

    /// Closes the longest idle connection of all logins.
    fn evict_oldest_idle(&mut self) {
        let oldest = self.logins.iter().filter_map(|(login, pool)| Some((pool.idle.first()?.0, login)));
        if let Some(login) = oldest.min_by_key(|&(since, _)| since).map(|(_, login)| login.clone()) {
            self.evict(&login);
        }
    }
}

impl LoginState {
    fn new(user: Arc<UserCount>) -> Self {
        LoginState { user, idle: Vec::new(), open: 0, connecting: 0, waiters: VecDeque::new(), warm: false, loans: 0 }
    }

    fn next_waiter(&mut self) -> Option<(u64, Instant, oneshot::Sender<Grant>)> {
        let waiter = self.waiters.pop_front()?;
        self.user.waiting.fetch_sub(1, Ordering::AcqRel);
        Some(waiter)
    }
}

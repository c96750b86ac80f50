use super::*;

fn open() -> Transaction<u32> {
    let mut transaction = Transaction::default();
    transaction.begin("BEGIN".into(), &1);
    transaction
}

#[test]
fn a_block_without_statements_needs_no_backend() {
    let mut transaction = open();
    assert_eq!(transaction.status(), b'T');
    transaction.commit();
    assert!(transaction.is_idle());
}

#[test]
fn an_error_fails_the_block_until_it_is_rolled_back() {
    let mut transaction = open();
    transaction.fail();
    assert_eq!(transaction.status(), b'E');
    assert_eq!(transaction.rollback(), Some(1));
    assert_eq!(transaction.status(), b'I');
}

#[test]
fn rollback_to_a_savepoint_heals_the_block_and_brings_back_its_settings() {
    let mut transaction = open();
    transaction.replay("SAVEPOINT a".into(), Some("a"));
    transaction.savepoint("a", &2);
    transaction.replay("SET LOCAL x = 1".into(), None);
    transaction.fail();
    assert_eq!(transaction.rollback_to("a"), Some(2));
    assert_eq!(transaction.status(), b'T');
    assert_eq!(transaction.opening().1.len(), 1, "what came after the savepoint is undone");
    assert_eq!(transaction.rollback_to("b"), None);
}

#[test]
fn releasing_a_savepoint_keeps_what_was_done_after_it() {
    let mut transaction = open();
    transaction.replay("SAVEPOINT a".into(), Some("a"));
    transaction.savepoint("a", &2);
    transaction.replay("SET LOCAL x = 1".into(), None);
    assert!(transaction.release("a"));
    assert_eq!(texts(transaction.pending(0)), ["SET LOCAL x = 1"]);
    assert!(!transaction.release("a"));
}

#[test]
fn the_same_savepoint_name_twice_means_the_newer_one() {
    let mut transaction = open();
    transaction.savepoint("a", &2);
    transaction.savepoint("a", &3);
    assert_eq!(transaction.rollback_to("a"), Some(3));
    assert!(transaction.release("a"));
    assert_eq!(transaction.rollback_to("a"), Some(2));
}

#[test]
fn settings_of_a_failed_statement_outside_a_block_are_brought_back() {
    let mut transaction: Transaction<u32> = Transaction::default();
    transaction.remember(&7);
    assert_eq!(transaction.ready(b'I', true), Some(7));
    transaction.remember(&8);
    assert_eq!(transaction.ready(b'I', false), None);
}

#[test]
fn a_lost_backend_leaves_a_failed_block() {
    let mut transaction = open();
    transaction.join();
    transaction.lose();
    assert_eq!(transaction.status(), b'E');
    assert_eq!(transaction.state(), State::Virtual { failed: true });
}

#[test]
fn a_lost_participant_cannot_be_healed_by_a_savepoint() {
    let mut transaction = open();
    transaction.join();
    transaction.replay("SAVEPOINT a".into(), Some("a"));
    transaction.savepoint("a", &2);
    transaction.lose();
    assert!(transaction.is_doomed());
    assert_eq!(transaction.rollback_to("a"), None);
    assert_eq!(transaction.ready(b'T', false), None, "another participant knows nothing of it");
    assert_eq!(transaction.status(), b'E');
    assert_eq!(transaction.rollback(), Some(1));
    assert!(!transaction.is_doomed());
}

#[test]
fn every_participant_does_what_it_has_not_done_yet_and_nothing_twice() {
    let mut transaction = open();
    transaction.join();
    transaction.settle();
    let first = transaction.replay("SET LOCAL x = 1".into(), None);
    let second = transaction.replay("SET LOCAL y = 2".into(), None);
    assert_eq!(texts(transaction.pending(0)), ["SET LOCAL x = 1", "SET LOCAL y = 2"]);
    assert_eq!(texts(transaction.pending(first)), ["SET LOCAL y = 2"]);
    assert_eq!(texts(transaction.pending(second)), [""; 0]);
    assert_eq!(transaction.progress(), second);
}

#[test]
fn a_released_savepoint_is_told_to_those_only_that_have_it_and_moves_nobodys_place() {
    let mut transaction = open();
    let early = transaction.replay("SET LOCAL x = 1".into(), None);
    let at = transaction.replay("SAVEPOINT a".into(), Some("a"));
    transaction.savepoint("a", &2);
    transaction.replay("SET LOCAL y = 2".into(), None);
    assert!(!transaction.reaches("a", early) && transaction.reaches("a", at));
    transaction.release("a");
    assert_eq!(texts(transaction.pending(early)), ["SET LOCAL y = 2"]);
    assert_eq!(texts(transaction.pending(at)), ["SET LOCAL y = 2"]);
}

#[test]
fn what_a_rollback_undoes_is_not_repeated_by_those_who_had_not_done_it() {
    let mut transaction = open();
    let before = transaction.replay("SAVEPOINT a".into(), Some("a"));
    transaction.savepoint("a", &2);
    transaction.replay("SET LOCAL y = 2".into(), None);
    transaction.replay("SAVEPOINT b".into(), Some("b"));
    transaction.savepoint("b", &3);
    assert_eq!(transaction.rollback_to("a"), Some(2));
    assert_eq!(texts(transaction.pending(before)), [""; 0]);
    let later = transaction.replay("SET LOCAL z = 3".into(), None);
    assert_eq!(texts(transaction.pending(before)), ["SET LOCAL z = 3"]);
    assert_eq!(texts(transaction.pending(later)), [""; 0]);
    assert!(!transaction.has_savepoint("b") && transaction.has_savepoint("a"));
}

#[test]
fn of_two_savepoints_of_one_name_the_newer_decides_who_is_told() {
    let mut transaction = open();
    let older = transaction.replay("SAVEPOINT a".into(), Some("a"));
    transaction.savepoint("a", &2);
    transaction.replay("SAVEPOINT a".into(), Some("a"));
    transaction.savepoint("a", &3);
    assert!(!transaction.reaches("a", older));
    transaction.release("a");
    assert!(transaction.reaches("a", older));
}

#[test]
fn a_chained_block_keeps_what_set_transaction_said() {
    let mut transaction = open();
    transaction.alter();
    transaction.replay("SET TRANSACTION READ ONLY".into(), None);
    transaction.mark_characteristic();
    transaction.replay("SET LOCAL x = 1".into(), None);
    let old = transaction.characteristics();
    transaction.commit();
    transaction.chain(old, &5);
    assert_eq!(transaction.state(), State::Virtual { failed: false });
    assert_eq!(texts(transaction.pending(0)), ["SET TRANSACTION READ ONLY"]);
    assert_eq!(transaction.settings_at_begin(), Some(&5));
}

#[test]
fn isolation_is_read_from_the_blocks_own_statements() {
    let mut transaction: Transaction<u32> = Transaction::default();
    for (begin, set, expected) in [
        ("BEGIN", "SET LOCAL x = 1", None),
        ("begin isolation level serializable", "SET LOCAL x = 1", Some(true)),
        ("BEGIN ISOLATION LEVEL REPEATABLE READ", "SET LOCAL x = 1", Some(false)),
        ("BEGIN", "SET TRANSACTION ISOLATION LEVEL Serializable", Some(true)),
        ("BEGIN", "SET transaction_isolation = 'serializable'", Some(true)),
    ] {
        transaction.begin(begin.into(), &1);
        transaction.replay(set.into(), None);
        assert_eq!(transaction.is_serializable(), expected, "{begin}; {set}");
    }
}

#[test]
fn a_prelude_without_end_keeps_other_shards_out() {
    let mut transaction = open();
    for _ in 0..MAX_PRELUDE {
        transaction.replay("SET LOCAL x = 1".into(), None);
    }
    assert!(transaction.can_be_joined());
    transaction.replay("SET LOCAL x = 1".into(), None);
    assert!(!transaction.can_be_joined());
}

#[test]
fn the_first_shard_that_tells_the_time_is_the_only_one() {
    let mut transaction = open();
    transaction.tell_time(ShardId(1));
    transaction.tell_time(ShardId(2));
    assert_eq!(transaction.timed(), Some(ShardId(1)));
    transaction.commit();
    transaction.tell_time(ShardId(2));
    assert_eq!(transaction.timed(), None, "outside a block every statement has a time of its own");
}

fn texts(replays: &[Replay]) -> Vec<&str> {
    replays.iter().map(|replay| replay.text.as_str()).collect()
}

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
    transaction.replay("SAVEPOINT a", Some("a"));
    transaction.savepoint("a", &2);
    transaction.replay("SET LOCAL x = 1", None);
    transaction.fail();
    assert_eq!(transaction.rollback_to("a"), Some(2));
    assert_eq!(transaction.status(), b'T');
    assert_eq!(transaction.opening().1.len(), 1, "what came after the savepoint is undone");
    assert_eq!(transaction.rollback_to("b"), None);
}

#[test]
fn releasing_a_savepoint_keeps_what_was_done_after_it() {
    let mut transaction = open();
    transaction.replay("SAVEPOINT a", Some("a"));
    transaction.savepoint("a", &2);
    transaction.replay("SET LOCAL x = 1", None);
    assert!(transaction.release("a"));
    assert_eq!(transaction.opening().1, [Replay { text: "SET LOCAL x = 1".into(), savepoint: None }]);
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
fn a_tied_block_repeats_nothing_elsewhere() {
    let mut transaction = open();
    transaction.settle();
    transaction.replay("SET LOCAL x = 1", None);
    assert!(transaction.opening().1.is_empty());
}

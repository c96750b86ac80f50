use super::*;

#[test]
fn only_what_is_surely_prepared_is_committed() {
    let reply = |tag: &str| Reply { tag: tag.into(), ..Reply::default() };
    assert!(is_prepared(&reply("PREPARE TRANSACTION")));
    // The block had failed: the answer is no error.
    assert!(!is_prepared(&reply("ROLLBACK")));
    assert!(!is_prepared(&reply("")));
    assert!(!is_prepared(&Reply { lost: true, ..reply("PREPARE TRANSACTION") }));
    assert!(!is_prepared(&Reply { unreplicated: true, ..reply("PREPARE TRANSACTION") }));
    let error = Failure::own(in_failed_transaction());
    assert!(!is_prepared(&Reply { error: Some(error), ..reply("PREPARE TRANSACTION") }));
}

#[test]
fn the_client_hears_why_nothing_was_committed() {
    let lost = PgError::new(SqlState::CONNECTION_FAILURE, "lost");
    let mut reply = Reply { lost: true, error: Some(Failure::own(lost)), ..Reply::default() };
    let Trouble::Refused(error) = rolled_back(&mut reply) else { panic!("not an error of ours") };
    assert!(error.code == SqlState::CONNECTION_FAILURE && error.hint.is_some());
    let mut reply = Reply { error: Some(Failure::own(no_transaction())), ..Reply::default() };
    assert!(matches!(rolled_back(&mut reply), Trouble::Failed(_)), "a server's own error goes as it came");
    let Trouble::Refused(error) = rolled_back(&mut Reply { unreplicated: true, ..Reply::default() }) else {
        panic!("not an error of ours")
    };
    assert_eq!(error.code, SqlState::QUERY_CANCELED);
}

//! COPY over several shards.
//!
//! # Rows that come in
//! 1. The route's [`CopyIn`] says which columns are the key. All shards of the keyspace join the transaction (one around the statement, if the
//!    client has none) and are sent the client's statement; when each of them wants data, so is the client told ([`start`]).
//! 2. From then on the session is *copying*: the client's messages come to [`feed`], which finds the rows ([`crate::copy`]), their shards, and
//!    puts their bytes into one message for each shard; full messages go out. A shard that does not read holds the client up, so that memory
//!    stays flat.
//! 3. At CopyDone every shard is told so; their counts are the command tag's ([`finish`]).
//! 4. Any error (a shard's, the client's CopyFail, a key that leads nowhere) ends the COPY on all shards ([`abort`]), and with it the transaction.
//!    The context of a shard's error gets the client's line number ([`context`]).
//!
//! The client's messages are acted on one by one, as they are without a COPY, so that a client which sends ahead is served too.
//!
//! # Rows that go out
//! A table's come from all shards side by side ([`out`]), a query's as the query is answered ([`query`]), re-written on their way to the client
//! ([`Encoder`](crate::copy::encode::Encoder)).

mod abort;
mod context;
mod extras;
mod feed;
mod finish;
mod out;
mod query;
mod start;
mod stream;

use bytes::BytesMut;

use super::meter::Running;
use super::scatter::Stop;
use super::work::Assignment;
use crate::copy::fields::Wanted;
use crate::copy::{Found, Options, Rows};
use crate::plan::work::copy::CopyIn;
use extras::Extras;
use stream::Stream;

/// A COPY FROM STDIN under way.
pub(super) struct Copying {
    /// It came as a simple query, so that its end is a ReadyForQuery.
    simple: bool,
    /// The transaction around it is its own.
    implicit: bool,
    copy: CopyIn,
    options: Options,
    rows: Rows,
    /// Where the parts of the key are in a row that come with the data.
    wanted: Vec<Option<Wanted>>,
    /// The values that each row gets here.
    extras: Extras,
    /// A key that is no ASCII text can be read.
    utf8: bool,
    /// Bytes of a row that is not whole yet.
    pending: BytesMut,
    streams: Vec<Stream>,
    /// The number of each shard's stream, by the shard's number; `u16::MAX` for those that have none.
    places: Vec<u16>,
    /// A row that waits for a directory's word.
    found: Option<Found>,
    /// Something went to a shard because it will not take it.
    foreign: bool,
    /// A shard has failed while nobody was asking.
    failure: Option<Stop>,
    running: Option<Running>,
}

/// What of a COPY is sent to a shard at once. PostgreSQL's own clients send about as much.
const PIECE: usize = 32 << 10;
/// Bytes that wait for a shard that does not read: beyond them the client waits.
const MOST_UNSENT: usize = 256 << 10;
/// The longest row. It has to be whole before its shard is known.
const LONGEST_ROW: usize = 256 << 20;

/// Whether a job is a COPY FROM over several shards.
pub(super) fn copy_in(job: &Assignment) -> Option<&CopyIn> {
    match &job.work.steps {
        crate::plan::Steps::Copy(crate::plan::work::Copy::In(copy)) => Some(copy),
        _ => None,
    }
}

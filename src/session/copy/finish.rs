//! The end of a COPY FROM STDIN that the client has sent all data of.

use super::Copying;
use super::stream::Stream;
use crate::error::PgError;
use crate::session::scatter::Stop;
use crate::session::scatter::query::command_complete;
use crate::session::{Session, Trouble};
use crate::sqlstate::SqlState;

impl Session {
    /// CopyDone: every shard is told, and the client gets the sum of their counts.
    pub(super) async fn end_copy(&mut self, mut copying: Box<Copying>) -> Result<(), Trouble> {
        let count = match self.finish_copy(&mut copying).await {
            Ok(count) => count,
            Err(stop) => return Err(self.fail_copy(copying, stop).await),
        };
        self.handle.aim(None);
        let tag = format!("COPY {count}").into_bytes();
        let ended = if copying.implicit && copying.simple { self.end_implicit(true).await } else { Ok(()) };
        if let Some(running) = copying.running.take() {
            self.meter_scattered(running, ended.is_ok().then_some(&tag));
        }
        ended?;
        command_complete(&mut self.client.outgoing, &tag);
        if copying.simple {
            self.meter_ready(self.transaction.status());
            self.end_statement();
        }
        Ok(())
    }

    async fn finish_copy(&mut self, copying: &mut Copying) -> Result<u64, Stop> {
        self.copy_data(copying, &[], true).await?;
        let cancels = self.handle.cancels();
        if copying.foreign {
            // The shard that has it says what is wrong with it. The others are not told of an end: to them it might be an error of its own, such as
            // that of data without a header, and theirs might be the first.
            copying.streams.iter_mut().take(1).for_each(|stream| self.send_done(stream));
            let Copying { streams, copy, .. } = copying;
            let told = |streams: &[Stream]| streams.first().is_none_or(Stream::is_over);
            self.until(streams, &copy.table, cancels, told).await?;
            // A shard took what no server should have taken: the row may be where it does not belong.
            return Err(PgError::unsupported("a row of the COPY was read in another way than expected")
                .with_detail(format!("Its shard key in table \"{}\" was not understood.", copying.copy.table))
                .into());
        }
        for stream in &mut copying.streams {
            self.send_done(stream);
        }
        let Copying { streams, copy, .. } = copying;
        self.until(streams, &copy.table, cancels, |streams| streams.iter().all(|stream| stream.is_over())).await?;
        streams.iter().for_each(|stream| self.meter_part(stream.shard));
        if copying.copy.spread.is_some() {
            return Ok(copying.streams.iter().map(|stream| stream.count()).sum());
        }
        let count = copying.streams.first().map_or(0, |stream| stream.count());
        if copying.streams.iter().any(|stream| stream.count() != count) {
            return Err(PgError::new(
                SqlState::INTERNAL_ERROR,
                format!("the copies of reference table \"{}\" took different numbers of rows", copying.copy.table),
            )
            .into());
        }
        Ok(count)
    }
}

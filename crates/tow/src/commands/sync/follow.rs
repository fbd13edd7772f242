//! A sync that goes on as files change.

use super::{
    Job,
    ended::{Ended, Remedy, wait},
    line::Line,
    verdict,
    watch::Watch,
};
use crate::failure::{Exit, Failure, failed};

impl Job<'_> {
    /// Syncs whenever something changes.
    pub(super) async fn follow(mut self, mut watch: Watch) -> Result<(), Failure> {
        // What cannot come about at first is told, as without watching.
        self.round().await?;
        self.retries = 0;
        loop {
            watch.changed().await.map_err(failed)?;
            let mut tries = 0;
            while let Err(ended) = self.again(&mut watch).await {
                if ended.remedy == Remedy::None {
                    return Err(ended.failure);
                }
                if tries == 0 {
                    Line::new(self.output).retrying(&ended.failure, "trying again until it works");
                }
                tries += 1;
                tokio::time::sleep(wait(tries)).await;
            }
        }
    }

    async fn again(&self, watch: &mut Watch) -> Result<(), Ended> {
        watch.renew()?;
        self.round().await
    }

    /// One sync. Entries that fail may be mended by the next change.
    async fn round(&self) -> Result<(), Ended> {
        match verdict(&self.run().await?) {
            Err(failure) if failure.exit() == Exit::SomeFiles => {
                self.output.failure(&failure);
                Ok(())
            }
            result => Ok(result?),
        }
    }
}

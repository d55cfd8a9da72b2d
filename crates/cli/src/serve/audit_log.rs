//! The server's log as the issuer sees it: how long `/sign` waits for room in it, and what
//! `/metrics` shows of it.

use async_trait::async_trait;
use countersign_issuer::{AuditLog, LogFigures};
use countersign_settings::log::Log;
use std::time::Duration;

/// How long a request for a token waits for a log that is full.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct ServerLog(pub(super) Log);

#[async_trait]
impl AuditLog for ServerLog {
    fn has_room(&self) -> bool {
        self.0.has_room()
    }

    async fn wait_for_room(&self) -> bool {
        tokio::time::timeout(PATIENCE, self.0.room()).await.is_ok()
    }

    fn figures(&self) -> LogFigures {
        let (lost_audit, lost_other) = self.0.lost();
        let bytes = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let (unwritten_bytes, queue_bytes) = (bytes(self.0.unwritten()), bytes(self.0.queue_bytes()));
        LogFigures { lost_audit, lost_other, unwritten_bytes, queue_bytes }
    }
}

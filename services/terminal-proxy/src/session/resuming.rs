//! A person comes back to their process: the same person, the same device, authorised again, on record.

use std::sync::Arc;

use common::domain::{Actor, AuditEvent, SessionId};
use tokio::io::AsyncWriteExt as _;

use super::line::Line;
use super::live::{Browser, Return};
use super::{BeginError, Ending, Sessions};
use crate::access::Grant;
use crate::relay::append_close;

/// Where somebody wants to go on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resume {
    pub(crate) session_id: SessionId,
    /// The number of the first byte of output that they have not seen.
    pub(crate) offset: u64,
}

/// A way back to a session that runs.
pub(crate) struct Comeback {
    resume: Resume,
    line: Arc<Line>,
}

impl Sessions {
    /// Finds the session that a person wants to go on with, and puts their coming back on record. None when it is
    /// not there any more, is not theirs, or began on a device that is another one now.
    pub(crate) async fn come_back(
        &self,
        grant: &Grant,
        resume: Resume,
        client: &str,
    ) -> Result<Option<Comeback>, BeginError> {
        let id = resume.session_id;
        let line = {
            let live = self.live();
            let own = live.get(id).filter(|live| {
                live.presence.is_resumable
                    && live.operator.subject == grant.operator.subject
                    && live.device_id == grant.device.id
                    && live.device_epoch == grant.device.epoch
            });
            own.map(|live| Arc::clone(&live.line))
        };
        let Some(line) = line else {
            return Ok(None);
        };
        let event = AuditEvent {
            actor: Actor::from(&grant.operator),
            action: "session.resumed",
            device_id: Some(grant.device.id.clone()),
            detail: serde_json::json!({ "session": id, "client_address": client }),
        };
        self.ports.audit.record(&event).await?;
        let ends = self.token_end(&grant.operator);
        if let Some(live) = self.live().get_mut(id) {
            live.operator = grant.operator.clone();
            live.badge = Arc::clone(&grant.badge);
            live.line.extend(ends);
        }
        Ok(Some(Comeback { resume, line }))
    }

    /// Nobody comes back to this session any more.
    pub(super) fn end_returns(&self, id: SessionId) {
        if let Some(live) = self.live().get_mut(id) {
            live.presence.is_resumable = false;
        }
    }
}

impl Comeback {
    pub(crate) fn session_id(&self) -> SessionId {
        self.resume.session_id
    }

    /// Hands the browser to the session.
    pub(crate) async fn run(self, browser: Browser) {
        let back = Return {
            browser,
            offset: self.resume.offset,
        };
        if let Err(back) = self.line.returns.send(back).await {
            Box::pin(say_close(back.browser, Ending::Draining)).await;
        }
    }
}

/// The session ended while its person was on the way: the page asks again, and gets a new shell.
pub(super) async fn say_close(mut browser: Browser, ending: Ending) {
    let mut frame = Vec::new();
    if let Some((code, reason)) = ending.close() {
        append_close(&mut frame, None, code, reason);
    }
    let said = async {
        browser.write_all(&frame).await?;
        browser.shutdown().await
    };
    // Whoever does not take it has left as well.
    drop(said.await);
}

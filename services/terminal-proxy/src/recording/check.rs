use std::io;

use common::domain::{Digest, SessionLedger, SessionRecord};

use crate::ports::RecordingShelf;

/// Compares every recording that is over with its session's record; returns what does not fit, one sentence each.
pub async fn check_recordings(shelf: &dyn RecordingShelf, ledger: &dyn SessionLedger) -> io::Result<Vec<String>> {
    let mut broken = Vec::new();
    for id in shelf.list().await? {
        let record = ledger.session(id).await.map_err(io::Error::other)?;
        let Some(record) = record else {
            broken.push(format!("The recording {id} belongs to no session."));
            continue;
        };
        if record.closed_at.is_some() {
            let found = shelf.verify(id).await?;
            broken.extend(verdict(&record, found).map(|verdict| format!("The recording of session {id} {verdict}.")));
        }
    }
    Ok(broken)
}

/// A session without a hash on record never finished its recording: there is nothing to compare it with.
fn verdict(record: &SessionRecord, found: Option<Digest>) -> Option<&'static str> {
    match (record.recording, found) {
        (Some(_), None) => Some("was changed or cut: its blocks do not fit their chain"),
        (Some(on_record), Some(found)) if on_record != found => Some("is another than the one on record"),
        (Some(_) | None, Some(_)) | (None, None) => None,
    }
}

//! Reading tokens for many at the same time: whoever asks while the database answers others is answered with all who
//! came meanwhile, by one statement.
//!
//! A fleet that enrolls shows one token a thousand times. Nobody is answered by a reading that began before they asked,
//! so a token that is revoked is revoked for whoever comes next.

use std::collections::{HashMap, HashSet};

use tokio::sync::Mutex;

use super::given::sql_given;
use super::statement::{row, sql_about};
use super::turns::{Answer, Questions, in_turn};
use super::{Store, tokens};
use crate::domain::{Digest, EnrollmentToken, StoreError};

/// Who waits for which token.
#[derive(Default)]
pub(super) struct TokenReads {
    questions: Questions<Digest, EnrollmentToken>,
    turn: Mutex<()>,
}

impl Store {
    /// Finds the token that a secret opens.
    pub(super) async fn token(&self, secret: &Digest) -> Answer<EnrollmentToken> {
        let reads = &self.shared.token_reads;
        // On the heap: most of those who wait are answered by others.
        in_turn(
            &reads.turn,
            || reads.questions.ask(*secret),
            || Box::pin(self.answer_all()),
        )
        .await
    }

    async fn answer_all(&self) {
        let asked = self.shared.token_reads.questions.take();
        if !asked.is_empty() {
            let known = self.tokens_of(&asked.keys()).await;
            asked.answer(&known);
        }
    }

    async fn tokens_of(&self, secrets: &HashSet<&Digest>) -> Result<HashMap<Digest, EnrollmentToken>, StoreError> {
        let rows = secrets.iter().map(|secret| row().bind::<Digest>(secret)).collect();
        let texts = sql_given!(
            (secret: bytes)
            "SELECT secret_hash, id, purpose, id_pattern, group_name, quota, used, refused, expires_at, revoked_at,
                 created_by, created_at
             FROM given CROSS JOIN enrollment_token
             WHERE secret_hash = given.secret"
        );
        let rows = self.all(sql_about(texts, rows)).await?;
        rows.iter()
            .map(|row| Ok((row.get("secret_hash")?, tokens::enrollment_token(row)?)))
            .collect()
    }
}

//! Reading tokens for many at the same time: whoever asks while the database answers others is answered with all who
//! came meanwhile, by one statement.
//!
//! A fleet that enrolls shows one token a thousand times. Nobody is answered by a reading that began before they asked,
//! so a token that is revoked is revoked for whoever comes next.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, oneshot};

use super::failures::copy;
use super::given::sql_given;
use super::statement::{row, sql_about};
use super::turns::in_turn;
use super::{Store, tokens};
use crate::domain::{Digest, EnrollmentToken, StoreError};

type Answer = Result<Option<EnrollmentToken>, StoreError>;

/// Who waits for which token.
#[derive(Default)]
pub(super) struct TokenReads {
    waiting: Mutex<Vec<Question>>,
    turn: AsyncMutex<()>,
}

struct Question {
    secret: Digest,
    asker: oneshot::Sender<Answer>,
}

impl Store {
    /// Finds the token that a secret opens.
    pub(super) async fn token(&self, secret: &Digest) -> Answer {
        let reads = &self.shared.token_reads;
        // On the heap: most of those who wait are answered by others.
        in_turn(&reads.turn, || reads.ask(*secret), || Box::pin(self.answer_all())).await
    }

    async fn answer_all(&self) {
        let questions = std::mem::take(&mut *self.shared.token_reads.waiting());
        let secrets: HashSet<_> = questions.iter().map(|question| question.secret).collect();
        if secrets.is_empty() {
            return;
        }
        let known = self.tokens_of(secrets).await;
        for Question { secret, asker } in questions {
            let answer = match &known {
                Ok(known) => Ok(known.get(&secret).cloned()),
                Err(error) => Err(copy(error)),
            };
            // Nobody waits any more for an answer whose asker was dropped.
            drop(asker.send(answer));
        }
    }

    async fn tokens_of(&self, secrets: HashSet<Digest>) -> Result<HashMap<Digest, EnrollmentToken>, StoreError> {
        let rows = secrets.iter().map(|secret| row().bind(secret)).collect();
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

impl TokenReads {
    fn ask(&self, secret: Digest) -> oneshot::Receiver<Answer> {
        let (asker, answer) = oneshot::channel();
        self.waiting().push(Question { secret, asker });
        answer
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Question>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Many wait, one acts: of all who are there, one does for everybody what each of them wants, and whoever comes
//! meanwhile waits for the next turn. There is no task and no delay.

use tokio::sync::Mutex;
use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;

/// Joins those who wait, and returns what came of it, whoever acted. `act` does the same for all who are there, itself
/// among them; one who goes away while acting leaves them to join again.
pub(super) async fn in_turn<T, Act>(turn: &Mutex<()>, join: impl Fn() -> Receiver<T>, act: impl Fn() -> Act) -> T
where
    Act: Future<Output = ()>,
{
    loop {
        let mut outcome = join();
        let turn = tokio::select! {
            biased;
            outcome = &mut outcome => match outcome {
                Ok(outcome) => return outcome,
                Err(_who_acted_left) => continue,
            },
            turn = turn.lock() => turn,
        };
        // Whoever had the turn before may have done it; otherwise it is among the next.
        loop {
            match outcome.try_recv() {
                Ok(outcome) => return outcome,
                Err(TryRecvError::Empty) => act().await,
                Err(TryRecvError::Closed) => break,
            }
        }
        drop(turn);
    }
}

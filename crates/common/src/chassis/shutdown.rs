//! How a process ends: one owner for every task, a soft stop, a hard stop, and a wait with a deadline.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What tasks get after the hard stop, to close a socket or to write one last line.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// The owner of all tasks of a process; clones own the same tasks.
///
/// The *soft* token asks for a drain: take nothing new, finish what runs. The *hard* token ends what
/// did not finish. The hard stop implies the soft one.
#[derive(Debug, Clone)]
pub struct Shutdown {
    hard: CancellationToken,
    soft: CancellationToken,
    tasks: TaskTracker,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Starts with no task and no stop requested.
    pub fn new() -> Self {
        let hard = CancellationToken::new();
        Self {
            soft: hard.child_token(),
            hard,
            tasks: TaskTracker::new(),
        }
    }

    /// Starts a task that [`Shutdown::finish`] waits for. It is boxed, because the runtime copies a task from place to place
    /// several times in its life.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(Box::pin(task))
    }

    /// Returns the token that is cancelled when the drain begins.
    pub fn token(&self) -> CancellationToken {
        self.soft.clone()
    }

    /// Returns the token that is cancelled when draining has taken too long.
    pub fn hard_token(&self) -> CancellationToken {
        self.hard.clone()
    }

    /// Asks every task to finish what it does and to take nothing new.
    pub fn drain(&self) {
        self.soft.cancel();
    }

    /// Asks every task to stop now.
    pub fn end(&self) {
        self.hard.cancel();
    }

    /// Listens for SIGTERM and SIGINT from now on: the first drains, the second ends.
    pub fn on_signals(&self) -> io::Result<()> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let watch = watch_signals(self.clone(), terminate, interrupt);
        // Not tracked: it would hold up the end that it listens for; the hard token ends it.
        #[expect(
            clippy::disallowed_methods,
            reason = "`finish` ends this task instead of waiting for it"
        )]
        drop(tokio::spawn(watch));
        Ok(())
    }

    /// Drains and waits for every task: until `deadline`, or until a second signal. What still runs then
    /// is told to stop at once. Returns whether all tasks ended by themselves.
    pub async fn finish(&self, deadline: Duration) -> bool {
        self.drain();
        self.tasks.close();
        let drained = tokio::select! {
            biased;
            () = self.tasks.wait() => true,
            () = self.hard.cancelled() => false,
            () = tokio::time::sleep(deadline) => false,
        };
        self.end();
        if !drained {
            tracing::warn!(tasks = self.tasks.len(), "Ended before everything was finished");
            drop(tokio::time::timeout(LAST_MOMENT, self.tasks.wait()).await);
        }
        drained
    }
}

async fn watch_signals(shutdown: Shutdown, mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = shutdown.hard.cancelled() => return,
    }
    tracing::info!("Draining; a second signal ends at once");
    shutdown.drain();
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = shutdown.hard.cancelled() => return,
    }
    shutdown.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn finish_waits_for_a_task_that_drains() {
        let shutdown = Shutdown::new();
        let soft = shutdown.token();
        let task = shutdown.spawn(async move { soft.cancelled().await });

        assert!(shutdown.finish(Duration::from_secs(5)).await);
        assert!(task.is_finished());
    }

    #[tokio::test]
    async fn what_does_not_drain_is_ended_at_the_deadline() {
        let shutdown = Shutdown::new();
        let hard = shutdown.hard_token();
        let task = shutdown.spawn(async move { hard.cancelled().await });

        assert!(!shutdown.finish(Duration::from_millis(1)).await);
        assert!(task.is_finished());
    }

    #[test]
    fn the_hard_stop_implies_the_soft_one() {
        let shutdown = Shutdown::new();

        shutdown.end();

        assert!(shutdown.token().is_cancelled());
    }
}

//! A bounded queue with one reader that costs next to nothing while it is empty. A channel of tokio's allocates more
//! than a kilobyte when it is made, and hardly any session ever has a guest or somebody who comes back.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

/// The queue; everybody holds the same one.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    capacity: usize,
    state: Mutex<State<T>>,
    room: Notify,
}

#[derive(Debug)]
struct State<T> {
    letters: VecDeque<T>,
    reader: Option<Waker>,
    is_closed: bool,
}

impl<T> Mailbox<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            state: Mutex::new(State {
                letters: VecDeque::new(),
                reader: None,
                is_closed: false,
            }),
            room: Notify::new(),
        }
    }

    /// Puts a letter in as soon as there is room; gives it back when nobody reads any more.
    pub(crate) async fn send(&self, letter: T) -> Result<(), T> {
        loop {
            let room = self.room.notified();
            {
                let mut state = self.state();
                if state.is_closed {
                    return Err(letter);
                }
                if state.letters.len() < self.capacity {
                    state.letters.push_back(letter);
                    let reader = state.reader.take();
                    drop(state);
                    if let Some(reader) = reader {
                        reader.wake();
                    }
                    return Ok(());
                }
            }
            room.await;
        }
    }

    /// Takes the next letter out. A closed mailbox has none, ever.
    pub(crate) fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.state();
        if let Some(letter) = state.letters.pop_front() {
            drop(state);
            self.room.notify_waiters();
            return Poll::Ready(letter);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes no letter any more; returns those that nobody has read.
    pub(crate) fn close(&self) -> VecDeque<T> {
        let mut state = self.state();
        state.is_closed = true;
        let unread = std::mem::take(&mut state.letters);
        drop(state);
        self.room.notify_waiters();
        unread
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn letters_come_out_in_their_order_and_senders_wait_for_room() {
        let mailbox = Mailbox::new(1);
        let send = async {
            for letter in 0..100 {
                mailbox.send(letter).await.unwrap();
            }
        };
        let receive = async {
            let mut letters = Vec::new();
            while letters.len() < 100 {
                letters.push(poll_fn(|cx| mailbox.poll_recv(cx)).await);
            }
            letters
        };

        let ((), letters) = tokio::join!(send, receive);

        assert_eq!(letters, (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn whoever_waits_for_room_in_a_mailbox_that_closes_has_their_letter_back() {
        let mailbox = Mailbox::new(1);
        mailbox.send("first").await.unwrap();

        let (second, unread) = tokio::join!(mailbox.send("second"), async { mailbox.close() });

        assert_eq!((second, unread.into()), (Err("second"), vec!["first"]));
        assert_eq!(mailbox.send("third").await, Err("third"));
    }
}

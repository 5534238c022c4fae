//! One read buffer a thread, so that a session owns memory only while its receiver is slow.

use std::cell::RefCell;

/// Larger reads cost less processor time per byte: about 0.45 s/GiB, and 0.6 s/GiB with 64 KiB.
const SCRATCH_BYTES: usize = 256 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

/// Lends the thread's buffer for the time of one poll. What is in it is left over from any session.
pub(crate) fn with_scratch<R>(use_it: impl FnOnce(&mut [u8]) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| use_it(scratch))
}

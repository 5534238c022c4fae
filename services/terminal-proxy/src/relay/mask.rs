//! Masks of a client's frames (RFC 6455 §5.3).

use std::cell::RefCell;

/// Random bytes that are made at once: a call for 4 bytes costs as much as one for many.
const POOL_BYTES: usize = 1024;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL_BYTES], used: POOL_BYTES }) };
}

struct Pool {
    bytes: [u8; POOL_BYTES],
    used: usize,
}

/// A fresh mask, unpredictable as RFC 6455 §10.3 asks.
pub(super) fn fresh_mask() -> [u8; 4] {
    POOL.with_borrow_mut(Pool::take)
}

impl Pool {
    /// Gives out each byte once.
    fn take(&mut self) -> [u8; 4] {
        if self.used == POOL_BYTES {
            aws_lc_rs::rand::fill(&mut self.bytes).expect("the operating system gives randomness");
            self.used = 0;
        }
        let fresh = self.bytes.get(self.used..).and_then(|rest| rest.first_chunk());
        self.used += 4;
        *fresh.expect("the pool holds whole masks")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn masks_do_not_come_twice() {
        let masks: Vec<[u8; 4]> = (0..POOL_BYTES).map(|_| fresh_mask()).collect();

        let different: HashSet<&[u8; 4]> = masks.iter().collect();
        // Of 1024 masks of 32 bits two are equal once in 8,000 tries.
        assert!(different.len() > masks.len() - 3);
    }
}

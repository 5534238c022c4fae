use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::claims::Claims;
use super::header::Header;
use super::keys::VerificationKey;
use crate::domain::Digest;

/// Most tokens that are remembered; then it begins anew.
const MAX_TOKENS: usize = 1024;

/// A token whose signature was found to be good, and what stands in it.
#[derive(Debug)]
pub(super) struct KnownToken {
    pub(super) header: Header,
    /// The very key that made the signature: one that was fetched again, or taken away, vouches for nothing.
    pub(super) key: Arc<VerificationKey>,
    pub(super) claims: Claims,
}

/// Tokens that were read before: one person opens many terminals with one token, and the arithmetic of RSA and the strict
/// reading of JSON would be most of what it costs. What a token says is judged every time.
#[derive(Default)]
pub(super) struct TokenMemory(Mutex<HashMap<Digest, Arc<KnownToken>>>);

impl TokenMemory {
    pub(super) fn find(&self, token: &Digest) -> Option<Arc<KnownToken>> {
        self.tokens().get(token).cloned()
    }

    pub(super) fn remember(&self, token: Digest, known: Arc<KnownToken>) {
        let mut tokens = self.tokens();
        if tokens.len() >= MAX_TOKENS {
            tokens.clear();
        }
        tokens.insert(token, known);
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<Digest, Arc<KnownToken>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

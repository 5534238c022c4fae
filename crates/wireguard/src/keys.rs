use std::collections::HashMap;

use common::domain::WireguardKey;

/// Keys that have been checked: checking one costs as much as a handshake, and a hub may list 60,000 every second.
#[derive(Debug, Default)]
pub(crate) struct CheckedKeys(HashMap<[u8; 32], Option<WireguardKey>>);

impl CheckedKeys {
    /// Checks a list of keys, in its order, and remembers no others.
    pub(crate) fn check(&mut self, keys: impl Iterator<Item = [u8; 32]>) -> Vec<Option<WireguardKey>> {
        let mut remembered = HashMap::with_capacity(self.0.len());
        let mut check = |key| {
            let known = || {
                self.0
                    .get(&key)
                    .copied()
                    .unwrap_or_else(|| WireguardKey::from_bytes(key).ok())
            };
            *remembered.entry(key).or_insert_with(known)
        };
        let checked = keys.map(&mut check).collect();
        self.0 = remembered;
        checked
    }
}

#[cfg(test)]
mod tests {
    use common::domain::WireguardPrivateKey;

    use super::*;

    #[test]
    fn what_was_not_in_the_last_list_is_forgotten() {
        let key = WireguardPrivateKey::generate().public_key();
        let mut keys = CheckedKeys::default();

        assert_eq!(keys.check([*key.as_bytes(), [0; 32]].into_iter()), [Some(key), None]);
        assert_eq!(keys.0.len(), 2);
        assert_eq!(keys.check([*key.as_bytes()].into_iter()), [Some(key)]);
        assert_eq!(keys.0.len(), 1);
    }
}

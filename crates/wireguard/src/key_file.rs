use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use common::domain::WireguardPrivateKey;
use secrecy::ExposeSecret as _;

/// Only its owner may read a key.
const MODE: u32 = 0o600;

/// Why there is no private key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Others than its owner may read it, so it may be known to them.
    #[error("the private key may be read by others than its owner; `chmod 600` the file, or better make a new key")]
    Exposed,
    /// What is in it is no key.
    #[error("the file holds no WireGuard private key")]
    Invalid,
    /// It can neither be read nor made.
    #[error("the file of the private key cannot be used")]
    Unusable(#[from] io::Error),
}

/// Reads the hub's private key, or makes it at the first start.
///
/// The file appears whole or not at all, and of two processes that make it one wins.
pub fn private_key(path: &Path) -> Result<WireguardPrivateKey, KeyFileError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.mode() & 0o077 != 0 => Err(KeyFileError::Exposed),
        Ok(_) => read(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(path)?;
            read(path)
        }
        Err(error) => Err(error.into()),
    }
}

fn read(path: &Path) -> Result<WireguardPrivateKey, KeyFileError> {
    let text = secrecy::SecretString::from(fs::read_to_string(path)?);
    WireguardPrivateKey::parse(text.expose_secret()).map_err(|_| KeyFileError::Invalid)
}

fn make(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let key = WireguardPrivateKey::generate();
    // Nobody else makes the same key, and so nobody else writes the same draft.
    let name = u64::from_le_bytes(
        *key.public_key()
            .as_bytes()
            .first_chunk()
            .expect("a key has more than 8 bytes"),
    );
    let draft = path.with_extension(format!("{name:016x}"));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&draft)?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    writeln!(file, "{}", key.to_base64().expose_secret())?;
    file.sync_all()?;
    let linked = match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    };
    fs::remove_file(&draft)?;
    linked?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.key");

        let made = private_key(&path).unwrap();

        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, MODE);
        assert_eq!(private_key(&path).unwrap().public_key(), made.public_key());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.key");
        private_key(&path).unwrap();

        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(private_key(&path), Err(KeyFileError::Exposed)));
        fs::set_permissions(&path, Permissions::from_mode(MODE)).unwrap();
        fs::write(&path, "not a key").unwrap();
        assert!(matches!(private_key(&path), Err(KeyFileError::Invalid)));
        assert!(matches!(
            private_key(&folder.path().join("no/hub.key")),
            Err(KeyFileError::Unusable(_))
        ));
    }

    #[test]
    fn of_many_who_make_the_key_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.key");

        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| make_or_read(&path))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });

        assert!(keys.windows(2).all(|pair| pair[0] == pair[1]), "{keys:?}");
    }

    fn make_or_read(path: &Path) -> common::domain::WireguardKey {
        private_key(path).unwrap().public_key()
    }
}

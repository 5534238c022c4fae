//! Where quickstart keeps what a second start needs: database, authority, keys, devices.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::domain::WireguardPrivateKey;
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::TempDir;

/// A folder that only its owner reads; gone at the end unless it was asked for.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    _temporary: Option<TempDir>,
}

impl DataFolder {
    /// Opens the folder, or makes a temporary one.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        if let Some(path) = path {
            private_folder(path)?;
            return Ok(Self {
                path: fs::canonicalize(path)?,
                _temporary: None,
            });
        }
        let temporary = TempDir::with_prefix("iot-bridge-quickstart-")?;
        Ok(Self {
            path: temporary.path().to_owned(),
            _temporary: Some(temporary),
        })
    }

    /// Returns the URL of the database.
    pub(crate) fn database_url(&self) -> String {
        format!("sqlite://{}", self.path.join("iot-bridge.sqlite").display())
    }

    /// Returns the authority's folder.
    pub(crate) fn authority(&self) -> PathBuf {
        self.path.join("authority")
    }

    /// Returns the folder of the terminals' recordings.
    pub(crate) fn recordings(&self) -> PathBuf {
        self.path.join("recordings")
    }

    /// Returns a device's state directory.
    pub(crate) fn device(&self, id: &str) -> io::Result<PathBuf> {
        let devices = self.path.join("devices");
        private_folder(&devices)?;
        Ok(devices.join(id))
    }

    /// Returns the key under which enrollment tokens are remembered.
    pub(crate) fn token_pepper(&self) -> io::Result<SecretString> {
        self.kept("token-pepper", random_secret)
    }

    /// Returns the hub's key.
    pub(crate) fn hub_key(&self) -> io::Result<WireguardPrivateKey> {
        let text = self.kept("hub.key", || WireguardPrivateKey::generate().to_base64())?;
        WireguardPrivateKey::parse(text.expose_secret()).map_err(io::Error::other)
    }

    /// Reads a secret, and makes it the first time.
    fn kept(&self, name: &str, make: impl FnOnce() -> SecretString) -> io::Result<SecretString> {
        let path = self.path.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret = make();
                write_secret(&path, &secret)?;
                Ok(secret)
            }
            Err(error) => Err(error),
        }
    }
}

/// Writes a secret into a file that only its owner reads.
pub(crate) fn write_secret(path: &Path, secret: &SecretString) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(secret.expose_secret().as_bytes())?;
    file.sync_all()
}

/// Makes a secret of 192 random bits.
pub(crate) fn random_secret() -> SecretString {
    let mut bytes = [0_u8; 24];
    rand::fill(&mut bytes).expect("the operating system gives randomness");
    URL_SAFE_NO_PAD.encode(bytes).into()
}

fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

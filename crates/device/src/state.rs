//! The directory that a device keeps its identity in: private, locked, and whole after a power cut.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The file that the running agent holds locked.
const LOCK: &str = "lock";

/// Largest file of ours: everything in here is keys, certificates and one page of settings.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Someone else could read the keys.
    #[error("{} may be read by others: its mode has to be 0700", path.display())]
    Exposed {
        /// The directory.
        path: PathBuf,
    },
    /// Another agent runs with it.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A file or directory could not be read or written.
    #[error("{} could not be read or written", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A device's state directory: mode 0700, files 0600, every write atomic and durable.
///
/// All methods block on the disk.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    /// Locked as long as this lives; none when it is only looked at.
    lock: Option<File>,
}

impl StateDirectory {
    /// Opens the directory for this process alone; makes it if there is none.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StateError> {
        let path = path.into();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|source| io_error(&path, source))?;
        let mut state = Self::look_at(path)?;
        let lock = state.create(LOCK)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::InUse { path: state.path }),
            Err(TryLockError::Error(source)) => return Err(io_error(&state.path, source)),
        }
        state.lock = Some(lock);
        Ok(state)
    }

    /// Opens an existing directory to read it, whether or not an agent runs with it.
    pub fn look_at(path: impl Into<PathBuf>) -> Result<Self, StateError> {
        let path = path.into();
        let mode = fs::metadata(&path)
            .map_err(|source| io_error(&path, source))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(StateError::Exposed { path });
        }
        Ok(Self { path, lock: None })
    }

    /// Reads a file; nothing if there is none.
    pub fn read(&self, name: &str) -> Result<Option<String>, StateError> {
        let path = self.path.join(name);
        let mut text = String::new();
        match File::open(&path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text)) {
            Ok(_) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(io_error(&path, source)),
        }
    }

    /// Writes a file: whoever reads it sees the old content or the new one, also after a power cut, and
    /// when this returns it is the new one for good.
    pub fn write(&self, name: &str, content: &str) -> Result<(), StateError> {
        let unfinished = format!(".{name}.new");
        let mut file = self.create(&unfinished)?;
        let path = self.path.join(name);
        file.set_len(0)
            .and_then(|()| file.write_all(content.as_bytes()))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(self.path.join(&unfinished), &path))
            .and_then(|()| File::open(&self.path)?.sync_all())
            .map_err(|source| io_error(&path, source))
    }

    /// Writes a file unless that is what stands in it.
    pub fn write_if_other(&self, name: &str, content: &str) -> Result<(), StateError> {
        if self.read(name)?.as_deref() == Some(content) {
            return Ok(());
        }
        self.write(name, content)
    }

    /// Removes a file for good, if there is one.
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.path.join(name);
        match fs::remove_file(&path).and_then(|()| File::open(&self.path)?.sync_all()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(&path, error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Returns where the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn create(&self, name: &str) -> Result<File, StateError> {
        let path = self.path.join(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(&path).map_err(|source| io_error(&path, source))
    }
}

fn io_error(path: &Path, source: io::Error) -> StateError {
    StateError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use tempfile::TempDir;

    use super::*;

    /// A state directory that goes away with the test.
    pub(crate) fn temporary() -> (TempDir, StateDirectory) {
        let private = fs::Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new().permissions(private).tempdir().unwrap();
        let state = StateDirectory::open(directory.path()).unwrap();
        (directory, state)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::temporary;
    use super::*;

    #[test]
    fn the_directory_and_its_files_are_for_their_owner_only() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/device");

        let state = StateDirectory::open(&path).unwrap();
        state.write("key", "secret").unwrap();

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("key")), 0o600);
        assert_eq!(mode(&path.join(LOCK)), 0o600);
    }

    #[test]
    fn what_a_power_cut_left_half_written_is_never_read_and_is_written_over() {
        let (directory, state) = temporary();
        state.write("key", "old").unwrap();
        fs::write(directory.path().join(".key.new"), "half of a much longer conte").unwrap();

        assert_eq!(state.read("key").unwrap().as_deref(), Some("old"));
        state.write("key", "new").unwrap();

        assert_eq!(state.read("key").unwrap().as_deref(), Some("new"));
        assert!(!directory.path().join(".key.new").exists());
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_content() {
        let (directory, state) = temporary();
        state.write("key", "old").unwrap();
        fs::create_dir(directory.path().join(".key.new")).unwrap();

        let error = state.write("key", "new").unwrap_err();

        assert!(matches!(error, StateError::Io { .. }), "{error:?}");
        assert_eq!(state.read("key").unwrap().as_deref(), Some("old"));
    }

    #[test]
    fn a_directory_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o750)).unwrap();

        assert!(matches!(
            StateDirectory::open(directory.path()),
            Err(StateError::Exposed { .. })
        ));
    }

    #[test]
    fn two_agents_cannot_have_one_identity() {
        let (directory, first) = temporary();

        assert!(matches!(
            StateDirectory::open(directory.path()),
            Err(StateError::InUse { .. })
        ));
        assert!(StateDirectory::look_at(directory.path()).is_ok());

        drop(first);
        assert!(StateDirectory::open(directory.path()).is_ok());
    }
}

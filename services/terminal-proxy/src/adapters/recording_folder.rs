use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use common::domain::{Digest, SessionId, Timestamp};
use tokio::io::AsyncRead;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::ports::{RecordingShelf, RecordingSink};
use crate::recording::chain;

/// Keeps recordings as files that only their owner can read: `<session>.cast`, and beside it `<session>.chain` with
/// the length and the hash of the recording after each block.
#[derive(Debug, Clone)]
pub struct RecordingFolder {
    folder: PathBuf,
}

impl RecordingFolder {
    /// Uses a folder, and makes it when it is missing.
    pub fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    fn file(&self, id: SessionId, extension: &str) -> PathBuf {
        self.folder.join(format!("{id}.{extension}"))
    }
}

#[async_trait]
impl RecordingShelf for RecordingFolder {
    async fn begin(&self, id: SessionId) -> io::Result<Box<dyn RecordingSink>> {
        let (cast, chain) = (self.file(id, "cast"), self.file(id, "chain"));
        blocking(move || {
            Ok(Box::new(CastFile {
                cast: new_file(&cast)?,
                chain: new_file(&chain)?,
                bytes: 0,
            }) as Box<dyn RecordingSink>)
        })
        .await
    }

    async fn open(&self, id: SessionId) -> io::Result<Option<Box<dyn AsyncRead + Send + Unpin>>> {
        match tokio::fs::File::open(self.file(id, "cast")).await {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list(&self) -> io::Result<Vec<SessionId>> {
        let folder = self.folder.clone();
        blocking(move || Ok(recordings(&folder)?.into_iter().map(|(id, _)| id).collect())).await
    }

    async fn verify(&self, id: SessionId) -> io::Result<Option<Digest>> {
        let (cast, chain) = (self.file(id, "cast"), self.file(id, "chain"));
        blocking(move || verify(&cast, &chain)).await
    }

    async fn remove_before(&self, time: Timestamp) -> io::Result<u64> {
        let folder = self.folder.clone();
        blocking(move || {
            let mut removed = 0;
            for (_, path) in recordings(&folder)? {
                if fs::metadata(&path)?.modified()? < SystemTime::from(time) {
                    fs::remove_file(&path)?;
                    match fs::remove_file(path.with_extension("chain")) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        Ok(()) | Err(_) => removed += 1,
                    }
                }
            }
            Ok(removed)
        })
        .await
    }
}

struct CastFile {
    cast: File,
    chain: File,
    bytes: u64,
}

impl RecordingSink for CastFile {
    fn append(&mut self, block: &[u8], chain: &Digest) -> io::Result<()> {
        self.cast.write_all(block)?;
        self.bytes += block.len() as u64;
        self.chain.write_all(format!("{} {chain}\n", self.bytes).as_bytes())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.cast.sync_all()?;
        self.chain.sync_all()
    }
}

/// A recording is never written over.
fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)
}

fn recordings(folder: &Path) -> io::Result<Vec<(SessionId, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_cast = path.extension().is_some_and(|extension| extension == "cast");
        let name = path.file_stem().and_then(|name| name.to_str());
        if let Some(id) = name.filter(|_| is_cast).and_then(|name| Uuid::try_parse(name).ok()) {
            found.push((SessionId(id), path));
        }
    }
    Ok(found)
}

/// Goes through the blocks again; each has to lead to the hash that stands beside it.
fn verify(cast: &Path, links: &Path) -> io::Result<Option<Digest>> {
    let mut cast = File::open(cast)?;
    let (mut hash, mut at) = (Digest([0; 32]), 0_u64);
    for line in fs::read_to_string(links)?.lines() {
        let link = line
            .split_once(' ')
            .and_then(|(end, hash)| Some((end.parse::<u64>().ok()?, hash)));
        let Some((end, expected)) = link.filter(|(end, _)| *end > at) else {
            return Ok(None);
        };
        let mut block = Vec::new();
        io::Read::by_ref(&mut cast).take(end - at).read_to_end(&mut block)?;
        hash = chain(&hash, &block);
        if hash.to_string() != expected {
            return Ok(None);
        }
        at = end;
    }
    let is_whole = cast.metadata()?.len() == at;
    Ok(is_whole.then_some(hash))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use common::domain::{Clock as _, SystemClock};

    use super::*;

    async fn written(folder: &Path) -> (RecordingFolder, SessionId, Digest) {
        let shelf = RecordingFolder::open(&folder.join("recordings")).unwrap();
        let id = SessionId::generate();
        let mut sink = shelf.begin(id).await.unwrap();
        let mut hash = Digest([0; 32]);
        for block in [&b"{\"version\":2}\n"[..], b"[0.1, \"o\", \"hello\"]\n"] {
            hash = chain(&hash, block);
            sink.append(block, &hash).unwrap();
        }
        sink.finish().unwrap();
        (shelf, id, hash)
    }

    #[tokio::test]
    async fn a_recording_is_readable_by_its_owner_only_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let (shelf, id, hash) = written(folder.path()).await;

        assert_eq!(shelf.list().await.unwrap(), [id]);
        assert_eq!(shelf.verify(id).await.unwrap(), Some(hash));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&shelf.folder), mode(&shelf.file(id, "cast"))), (0o700, 0o600));
        assert!(shelf.open(SessionId::generate()).await.unwrap().is_none());
        assert!(shelf.begin(id).await.is_err(), "a recording was written over");
    }

    #[tokio::test]
    async fn a_recording_that_was_changed_cut_or_lengthened_does_not_fit() {
        for change in ["changed", "cut", "longer"] {
            let folder = tempfile::tempdir().unwrap();
            let (shelf, id, _) = written(folder.path()).await;
            let path = shelf.file(id, "cast");
            let text = fs::read_to_string(&path).unwrap();
            let text = match change {
                "changed" => text.replace("hello", "hallo"),
                "cut" => text.replace("[0.1, \"o\", \"hello\"]\n", ""),
                _ => text + "[9.0, \"o\", \"more\"]\n",
            };
            fs::write(&path, text).unwrap();

            assert_eq!(shelf.verify(id).await.unwrap(), None, "{change}");
        }
    }

    #[tokio::test]
    async fn old_recordings_are_removed_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (shelf, old, _) = written(folder.path()).await;
        let before = SystemTime::from(SystemClock.now() - Duration::from_hours(48));
        File::options()
            .write(true)
            .open(shelf.file(old, "cast"))
            .unwrap()
            .set_modified(before)
            .unwrap();
        let young = written(folder.path()).await.1;

        let removed = shelf.remove_before(SystemClock.now() - Duration::from_hours(24)).await;

        assert_eq!(removed.unwrap(), 1);
        assert_eq!(shelf.list().await.unwrap(), [young]);
        assert!(!shelf.file(old, "chain").exists());
    }
}

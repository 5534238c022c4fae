//! A session that another process serves: its bytes pass as they are. Only the frames towards the browser are followed,
//! so that a Close of our own can stand between two of them when this process stops.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, split};
use tokio::time::timeout;

use super::frame::{MAX_HEADER_BYTES, Violation, append_close, read_header};
use super::{CLOSE_ANSWER, LAST_FRAME};

/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;

/// Why nothing more passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// One side has said everything.
    Over,
    /// This process stops.
    Stopped,
}

/// Passes everything on until one side ends or `stop` comes; then the browser is told to come back elsewhere (1012).
pub(crate) async fn pass_on<B, P>(browser: B, peer: P, stop: impl Future<Output = ()>)
where
    B: AsyncRead + AsyncWrite + Unpin,
    P: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from_browser, mut to_browser) = split(browser);
    let (mut from_peer, mut to_peer) = split(peer);
    let upwards = async {
        // Whatever ends it, the other process notices when its connection does.
        drop(copy(&mut from_browser, &mut to_peer).await);
        drop(to_peer.shutdown().await);
        tokio::time::sleep(CLOSE_ANSWER).await;
        Ok(End::Over)
    };
    let end = tokio::select! {
        end = downwards(&mut from_peer, &mut to_browser, stop) => end,
        end = upwards => end,
    };
    if end.is_ok_and(|end| end == End::Stopped) {
        let mut close = Vec::new();
        append_close(&mut close, None, 1012, "proxy-restarts");
        drop(timeout(LAST_FRAME, to_browser.write_all(&close)).await);
    }
    drop(timeout(LAST_FRAME, to_browser.shutdown()).await);
}

async fn downwards<P, B>(peer: &mut P, browser: &mut B, stop: impl Future<Output = ()>) -> std::io::Result<End>
where
    P: AsyncRead + Unpin,
    B: AsyncWrite + Unpin,
{
    let mut stop = std::pin::pin!(stop);
    let mut boundary = Boundary::default();
    let mut buffer = vec![0; READ_BYTES];
    let mut stopped_for = None;
    loop {
        if stopped_for.is_some() && boundary.is_here() {
            return Ok(End::Stopped);
        }
        let read = tokio::select! {
            biased;
            () = &mut stop, if stopped_for.is_none() => {
                stopped_for = Some(tokio::time::Instant::now() + LAST_FRAME);
                continue;
            }
            () = until(stopped_for) => return Ok(End::Over), // in the middle of a frame
            read = peer.read(&mut buffer) => read?,
        };
        let chunk = buffer.get(..read).unwrap_or_default();
        if chunk.is_empty() || boundary.follow(chunk).is_err() {
            return Ok(End::Over);
        }
        browser.write_all(chunk).await?;
        browser.flush().await?;
    }
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Whether a stream of frames stands between two of them.
#[derive(Debug, Default)]
struct Boundary {
    head: [u8; MAX_HEADER_BYTES],
    head_bytes: usize,
    payload_left: u64,
}

impl Boundary {
    fn is_here(&self) -> bool {
        self.head_bytes == 0 && self.payload_left == 0
    }

    fn follow(&mut self, mut chunk: &[u8]) -> Result<(), Violation> {
        while let Some((first, rest)) = chunk.split_first() {
            if self.payload_left > 0 {
                let step = usize::try_from(self.payload_left)
                    .unwrap_or(usize::MAX)
                    .min(chunk.len());
                self.payload_left -= step as u64;
                chunk = chunk.get(step..).unwrap_or_default();
                continue;
            }
            if let Some(place) = self.head.get_mut(self.head_bytes) {
                *place = *first;
                self.head_bytes += 1;
                chunk = rest;
            }
            if let Some((header, _)) = read_header(self.head.get(..self.head_bytes).unwrap_or_default())? {
                self.head_bytes = 0;
                self.payload_left = header.payload_bytes;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio::sync::Notify;

    use super::*;
    use crate::relay::frame::{Opcode, append_frame};

    #[test]
    fn a_boundary_is_found_however_the_stream_is_cut() {
        let mut stream = Vec::new();
        append_frame(&mut stream, Opcode::Binary, None, &[b"0hello"]);
        let first = stream.len();
        append_frame(&mut stream, Opcode::Binary, None, &[&[b'x'; 300]]);
        for cut in 0..=stream.len() {
            let mut boundary = Boundary::default();
            boundary.follow(&stream[..cut]).unwrap();
            let expected = [0, first, stream.len()].contains(&cut);
            assert_eq!(boundary.is_here(), expected, "cut at {cut}");
            boundary.follow(&stream[cut..]).unwrap();
            assert!(boundary.is_here());
        }
    }

    #[tokio::test]
    async fn a_process_that_stops_says_so_behind_the_frame_that_has_begun() {
        let (mut browser, browser_side) = duplex(1024);
        let (mut peer, peer_side) = duplex(1024);
        let stop = Notify::new();
        let mut frame = Vec::new();
        append_frame(&mut frame, Opcode::Binary, None, &[b"0hello"]);
        let (begun, rest) = frame.split_at(4);
        let mut close = Vec::new();
        append_close(&mut close, None, 1012, "proxy-restarts");

        let script = async {
            browser.write_all(b"keys").await.unwrap();
            let mut keys = [0; 4];
            peer.read_exact(&mut keys).await.unwrap();
            peer.write_all(begun).await.unwrap();
            let mut heard = vec![0; 4];
            browser.read_exact(&mut heard).await.unwrap();
            stop.notify_one();
            peer.write_all(rest).await.unwrap();
            browser.read_to_end(&mut heard).await.unwrap();
            (keys, heard)
        };
        let ((), (keys, heard)) = tokio::join!(pass_on(browser_side, peer_side, stop.notified()), script);

        assert_eq!((&keys, heard), (b"keys", [frame, close].concat()));
    }
}

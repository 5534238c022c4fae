//! A relay whose two ends the test holds in its hands.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::mailbox::Mailbox;
use crate::relay::frame::{Opcode, append_frame, apply_mask, read_header};
use crate::relay::{Company, Ends, Patience, RelayLimits, Relayed, Size, Witness, relay};
use crate::session::Ending;

const LIMITS: RelayLimits = RelayLimits {
    max_message_bytes: 64 * 1024,
    max_fragments: 64,
    max_frames_per_second: 4000,
    max_device_frame_bytes: 256 * 1024,
    patience: Patience {
        idle: Duration::from_mins(15),
        write_stall: Duration::from_secs(30),
        silence: Duration::from_secs(45),
    },
};

pub(super) const MASK: Option<[u8; 4]> = Some([0xA5, 0x00, 0xFF, 0x13]);

/// A running relay and the test's two ends of it.
pub(super) struct Session {
    pub(super) browser: DuplexStream,
    pub(super) device: DuplexStream,
    stop: Option<oneshot::Sender<Ending>>,
    pub(super) relay: JoinHandle<Relayed>,
}

struct Nobody;

impl Witness for Nobody {
    fn typed(&self, _: &[u8]) {}

    fn resized(&self, _: Size) {}

    fn acknowledged(&self, _: u64) -> bool {
        false
    }
}

impl Session {
    /// A session whose first message has been sent and read.
    pub(super) async fn opened() -> Self {
        let mut session = Self::start(64 * 1024);
        session.browser_says(b"{}").await;
        session.next_at_device().await;
        session
    }

    #[expect(clippy::disallowed_methods, reason = "a test waits for its tasks itself")]
    pub(super) fn start(pipe_bytes: usize) -> Self {
        let (browser, browser_side) = duplex(pipe_bytes);
        let (device, device_side) = duplex(pipe_bytes);
        let (stop, stopped) = oneshot::channel();
        let relay = tokio::spawn(async move {
            let stopped = async { stopped.await.unwrap_or(Ending::Draining) };
            let guests = Mailbox::new(1);
            let company = Company {
                witness: &Nobody,
                guests: &guests,
                unsent: None,
            };
            let ends = Ends {
                browser: browser_side,
                device: device_side,
                company,
            };
            relay(ends, &LIMITS, stopped, |_ending| false).await
        });
        Self {
            browser,
            device,
            stop: Some(stop),
            relay,
        }
    }

    pub(super) fn stop(&mut self, ending: Ending) {
        self.stop.take().unwrap().send(ending).unwrap();
    }

    pub(super) async fn ended(self) -> Relayed {
        drop((self.browser, self.device));
        self.relay.await.unwrap()
    }

    pub(super) async fn end(mut self) -> Relayed {
        self.stop(Ending::Killed);
        self.ended().await
    }

    pub(super) async fn browser_says(&mut self, message: &[u8]) {
        self.browser_sends(Opcode::Binary, message).await;
    }

    pub(super) async fn browser_sends(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        append_frame(&mut frame, opcode, MASK, &[payload]);
        self.browser.write_all(&frame).await.unwrap();
    }

    /// The next frame for the device that is no sign of life.
    pub(super) async fn next_at_device(&mut self) -> (Opcode, Vec<u8>) {
        loop {
            let frame = self.any_at_device().await;
            if !matches!(frame.0, Opcode::Ping | Opcode::Pong) {
                return frame;
            }
        }
    }

    pub(super) async fn any_at_device(&mut self) -> (Opcode, Vec<u8>) {
        read_frame(&mut self.device).await
    }

    pub(super) async fn next_at_browser(&mut self) -> (Opcode, Vec<u8>) {
        read_frame(&mut self.browser).await
    }

    pub(super) async fn close_at_browser(&mut self) -> (u16, String) {
        let (opcode, payload) = self.next_at_browser().await;
        assert_eq!(opcode, Opcode::Close);
        let (code, reason) = payload.split_first_chunk::<2>().unwrap();
        (u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).unwrap())
    }
}

async fn read_frame(stream: &mut DuplexStream) -> (Opcode, Vec<u8>) {
    let mut head = Vec::new();
    loop {
        head.push(stream.read_u8().await.unwrap());
        if let Some((header, _)) = read_header(&head).unwrap() {
            let mut payload = vec![0; usize::try_from(header.payload_bytes).unwrap()];
            stream.read_exact(&mut payload).await.unwrap();
            apply_mask(&mut payload, header.mask.unwrap_or_default(), 0);
            return (header.opcode, payload);
        }
    }
}

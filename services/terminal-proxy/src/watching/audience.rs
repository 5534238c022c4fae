use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};

use crate::relay::{Command, MessageLimits, MessageReader, Opcode, Received, Size, append_close, append_frame};
use crate::session::{Browser, Place, Spectator};

/// Most output in one message.
const MAX_OUTPUT_BYTES: usize = 32 * 1024;

/// How often a watcher is asked for a sign of life; who gives none until the next but one has left.
const BEAT: Duration = Duration::from_secs(20);

/// Longest message of a watcher, and most frames in one beat.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
const MAX_FRAMES_PER_BEAT: u32 = 20_000;

/// What a watcher who does not take anything gets.
const WRITE_STALL: Duration = Duration::from_secs(30);

/// Somebody who may see a session, and perhaps type along.
pub(crate) struct Watcher {
    place: Place,
    spectator: Arc<Spectator>,
    may_type: bool,
    token_ends: Instant,
}

/// What a watcher is told besides the output, as text; the device's output is binary.
#[derive(Debug, Serialize)]
struct News {
    columns: i64,
    rows: i64,
    /// The number of the byte of output that follows.
    offset: u64,
    /// How many bytes were missed in front of it.
    lost: u64,
    may_type: bool,
}

/// Why somebody does not watch any more: a close code and a word.
type Farewell = (u16, &'static str);

/// The connection broke, and nobody hears a farewell.
#[derive(Debug)]
struct Gone;

impl Watcher {
    pub(super) fn new(place: Place, spectator: Arc<Spectator>, may_type: bool, token_ends: Instant) -> Self {
        Self {
            place,
            spectator,
            may_type,
            token_ends,
        }
    }

    /// Shows everything from what is still there on, until the session or the watcher ends.
    pub(crate) async fn run(self, browser: Browser) {
        let (reader, writer) = split(browser);
        let mut seat = Seat {
            writer,
            offset: self.place.log().first_from(0),
            size: self.place.log().size(),
        };
        let ears = Ears::new(reader);
        if let Ok((code, reason)) = self.attend(&mut seat, ears).await {
            let mut frame = Vec::new();
            append_close(&mut frame, None, code, reason);
            drop(seat.write(&frame).await);
        }
        drop(seat.writer.shutdown().await);
    }

    async fn attend(&self, seat: &mut Seat, mut ears: Ears) -> Result<Farewell, Gone> {
        let log = self.place.log();
        seat.tell(0, self.may_type).await?;
        let mut beats = interval_at(Instant::now() + BEAT, BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent_beats = 0;
        loop {
            tokio::select! {
                biased;
                () = self.place.drained() => return Ok((1012, "proxy-restarts")),
                () = self.spectator.lost() => return Ok((4403, "access-lost")),
                () = sleep_until(self.token_ends) => return Ok((4401, "token-expired")),
                heard = ears.listen() => {
                    silent_beats = 0;
                    if let Some(farewell) = self.hear(heard?, &mut ears, seat).await? {
                        return Ok(farewell);
                    }
                }
                goes_on = log.grown(seat.offset, seat.size) => {
                    if !goes_on {
                        return Ok((1000, "session-ended"));
                    }
                    seat.show(&self.place, self.may_type).await?;
                }
                _ = beats.tick() => {
                    silent_beats += 1;
                    if silent_beats > 2 {
                        return Err(Gone);
                    }
                    ears.reader_frames_reset();
                    let mut ping = Vec::new();
                    append_frame(&mut ping, Opcode::Ping, None, &[]);
                    seat.write(&ping).await?;
                }
            }
        }
    }

    async fn hear(&self, bytes: usize, ears: &mut Ears, seat: &mut Seat) -> Result<Option<Farewell>, Gone> {
        let (reader, buffer) = ears.parts();
        let mut rest = buffer.get(..bytes).unwrap_or_default();
        loop {
            if reader.frames > MAX_FRAMES_PER_BEAT {
                return Ok(Some((1008, "too-many-messages")));
            }
            match reader.next(&mut rest) {
                Ok(None) => return Ok(None),
                Ok(Some(Received::Message(message))) => {
                    if self.may_type && Command::parse(message) == Command::Input {
                        let passed = timeout(WRITE_STALL, self.place.pass_keys(message)).await;
                        if passed.is_err() {
                            return Ok(Some((4408, "stalled")));
                        }
                    }
                }
                Ok(Some(Received::Ping(payload))) => {
                    let mut pong = Vec::new();
                    append_frame(&mut pong, Opcode::Pong, None, &[payload]);
                    seat.write(&pong).await?;
                }
                Ok(Some(Received::Pong)) => {}
                Ok(Some(Received::Close(code))) => return Ok(Some((code.unwrap_or(1000), ""))),
                Err(violation) => return Ok(Some((violation.close_code(), "protocol-violation"))),
            }
        }
    }
}

/// Where a watcher stands in the session's output.
struct Seat {
    writer: WriteHalf<Browser>,
    offset: u64,
    size: Size,
}

impl Seat {
    /// Shows what is new, as much as fits one message.
    async fn show(&mut self, place: &Place, may_type: bool) -> Result<(), Gone> {
        let size = place.log().size();
        if size != self.size {
            self.size = size;
            self.tell(0, may_type).await?;
        }
        let mut output = vec![0; MAX_OUTPUT_BYTES];
        let piece = place.log().read(self.offset, &mut output);
        if piece.bytes == 0 {
            return Ok(());
        }
        let lost = piece.begin - self.offset;
        self.offset = piece.begin;
        if lost > 0 {
            self.tell(lost, may_type).await?;
        }
        self.offset += piece.bytes as u64;
        let mut frame = Vec::with_capacity(piece.bytes + 8);
        let shown = output.get(..piece.bytes).unwrap_or_default();
        append_frame(&mut frame, Opcode::Binary, None, &[b"0", shown]);
        self.write(&frame).await
    }

    async fn tell(&mut self, lost: u64, may_type: bool) -> Result<(), Gone> {
        let news = News {
            columns: self.size.columns,
            rows: self.size.rows,
            offset: self.offset,
            lost,
            may_type,
        };
        let text = serde_json::to_vec(&news).expect("numbers and a flag");
        let mut frame = Vec::new();
        append_frame(&mut frame, Opcode::Text, None, &[&text]);
        self.write(&frame).await
    }

    async fn write(&mut self, frame: &[u8]) -> Result<(), Gone> {
        let write = async {
            self.writer.write_all(frame).await?;
            self.writer.flush().await
        };
        let written = timeout(WRITE_STALL, write).await;
        written.map_err(|_elapsed| Gone)?.map_err(|_broken| Gone)
    }
}

/// What a watcher says.
struct Ears {
    stream: ReadHalf<Browser>,
    reader: MessageReader,
    buffer: Box<[u8]>,
}

impl Ears {
    fn new(stream: ReadHalf<Browser>) -> Self {
        Self {
            stream,
            reader: MessageReader::new(MessageLimits {
                max_message_bytes: MAX_MESSAGE_BYTES,
                max_fragments: 64,
            }),
            buffer: vec![0; 4096].into_boxed_slice(),
        }
    }

    async fn listen(&mut self) -> Result<usize, Gone> {
        match self.stream.read(&mut self.buffer).await {
            Ok(0) | Err(_) => Err(Gone),
            Ok(bytes) => Ok(bytes),
        }
    }

    fn parts(&mut self) -> (&mut MessageReader, &[u8]) {
        (&mut self.reader, &self.buffer)
    }

    fn reader_frames_reset(&mut self) {
        self.reader.frames = 0;
    }
}

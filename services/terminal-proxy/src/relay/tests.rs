//! The relay between two ends that the test holds in its hands.

mod stage;

use self::stage::{MASK, Session};
use super::frame::{Opcode, append_close, append_frame};
use super::*;

#[tokio::test(start_paused = true)]
async fn output_passes_byte_for_byte_whatever_the_size_of_the_pieces() {
    let mut stream = Vec::new();
    for length in [0_usize, 1, 60, 125, 126, 4095, 65_536] {
        append_frame(&mut stream, Opcode::Binary, None, &[b"0", &vec![b'x'; length]]);
        append_frame(&mut stream, Opcode::Ping, None, &[b"?"]);
    }
    for piece_bytes in [1, 2, 3, 7, 64, 1000, stream.len()] {
        let mut session = Session::start(1024 * 1024);
        for piece in stream.chunks(piece_bytes) {
            session.device.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }

        let mut seen = vec![0; stream.len()];
        session.browser.read_exact(&mut seen).await.unwrap();

        assert!(seen == stream, "pieces of {piece_bytes} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_message_is_written_by_the_proxy() {
    for (first, expected) in [
        (
            r#"{"AuthToken":"c3RvbGVu","columns":132,"rows":43}"#,
            r#"{"AuthToken":"","columns":132,"rows":43}"#,
        ),
        (
            r#"{"columns":99999,"rows":-1}"#,
            r#"{"AuthToken":"","columns":1000,"rows":1}"#,
        ),
        ("{bad", r#"{"AuthToken":"","columns":80,"rows":24}"#),
        (
            r#"1{"columns":100,"rows":30}"#,
            r#"{"AuthToken":"","columns":100,"rows":30}"#,
        ),
    ] {
        let mut session = Session::start(4096);

        session.browser_says(first.as_bytes()).await;

        assert_eq!(
            session.next_at_device().await,
            (Opcode::Binary, expected.as_bytes().to_vec())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn input_before_the_first_message_starts_the_process_and_is_not_lost() {
    let mut session = Session::start(4096);

    session.browser_says(b"0ls\r").await;

    assert_eq!(
        session.next_at_device().await.1,
        br#"{"AuthToken":"","columns":80,"rows":24}"#
    );
    assert_eq!(session.next_at_device().await.1, b"0ls\r");
}

#[tokio::test(start_paused = true)]
async fn only_input_and_resize_reach_the_device() {
    let mut session = Session::opened().await;

    for message in [
        &b"2"[..],
        b"3",
        b"9?",
        b"",
        br#"{"AuthToken":"again"}"#,
        br#"1{"columns":"wide"}"#,
    ] {
        session.browser_says(message).await;
    }
    session
        .browser_says(br#"1{"columns":65536,"rows":30,"evil":"\u0000"}"#)
        .await;
    session.browser_says(b"0x").await;

    assert_eq!(session.next_at_device().await.1, br#"1{"columns":1000,"rows":30}"#);
    assert_eq!(session.next_at_device().await.1, b"0x");
    assert_eq!(session.end().await.dropped_messages, 4);
}

#[tokio::test(start_paused = true)]
async fn each_frame_to_the_device_has_a_mask_that_the_browser_did_not_choose() {
    let mut session = Session::opened().await;
    session.browser_says(b"0x").await;

    let mut frame = [0; 8];
    session.device.read_exact(&mut frame).await.unwrap();

    assert_ne!(frame[2..6], MASK.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_ping_of_the_browser_is_answered_at_a_frame_boundary() {
    let mut session = Session::opened().await;
    let mut frame = Vec::new();
    append_frame(&mut frame, Opcode::Binary, None, &[b"0", &[b'x'; 1000]]);
    session.device.write_all(&frame[..500]).await.unwrap();
    tokio::task::yield_now().await;

    session.browser_sends(Opcode::Ping, b"still there?").await;
    tokio::task::yield_now().await;
    let mut rest = frame[500..].to_vec();
    append_frame(&mut rest, Opcode::Binary, None, &[b"0after"]);
    session.device.write_all(&rest).await.unwrap();

    assert_eq!(session.next_at_browser().await.1.len(), 1001);
    let mut next = [session.next_at_browser().await, session.next_at_browser().await];
    next.sort_by_key(|(opcode, _)| *opcode == Opcode::Pong);
    assert_eq!(next[0], (Opcode::Binary, b"0after".to_vec()));
    assert_eq!(next[1], (Opcode::Pong, b"still there?".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_stop_inside_a_frame_waits_for_its_end_and_then_says_close() {
    let mut session = Session::opened().await;
    session.device.write_all(b"\x82\x05").await.unwrap();
    session.device.write_all(b"0ab").await.unwrap();
    tokio::task::yield_now().await;

    session.stop(Ending::Killed);
    tokio::task::yield_now().await;
    session.device.write_all(b"cd\x82\x02").await.unwrap();

    assert_eq!(session.next_at_browser().await, (Opcode::Binary, b"0abcd".to_vec()));
    assert_eq!(session.close_at_browser().await, (4403, "killed".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_never_ends_does_not_hold_up_the_end() {
    let mut session = Session::opened().await;
    session.device.write_all(b"\x82\x05").await.unwrap();
    session.device.write_all(b"0ab").await.unwrap();
    tokio::task::yield_now().await;

    session.stop(Ending::DeviceRetired);

    assert_eq!(session.ended().await.ending, Ending::DeviceRetired);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_shell_is_a_normal_end_after_its_last_output() {
    let mut session = Session::opened().await;
    let mut last = Vec::new();
    append_frame(&mut last, Opcode::Binary, None, &[b"0logout\r\n"]);
    session.device.write_all(&last).await.unwrap();
    session.device.shutdown().await.unwrap();

    assert_eq!(session.next_at_browser().await.1, b"0logout\r\n");
    assert_eq!(session.close_at_browser().await, (1000, "shell-exited".to_owned()));
    assert_eq!(session.ended().await.ending, Ending::ShellExited);
}

#[tokio::test(start_paused = true)]
async fn a_close_of_the_device_is_answered_in_our_words() {
    for (code, expected) in [(1000, 1000), (1006, 1000), (1008, 1011), (4404, 1011), (1012, 1011)] {
        let mut session = Session::opened().await;
        let mut close = Vec::new();
        append_close(&mut close, None, code, "device-decommissioned");
        session.device.write_all(&close).await.unwrap();

        assert_eq!(session.close_at_browser().await.0, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hostile_frame_of_the_device_ends_the_session_and_is_not_passed_on() {
    for hostile in [
        &b"\x82\x81\x01\x02\x03\x04x"[..],
        b"\xC2\x01x",
        b"\x83\x00",
        b"\x82\x7F\x00\x00\x00\x01\x00\x00\x00\x00",
    ] {
        let mut session = Session::opened().await;
        session.device.write_all(b"\x82\x02").await.unwrap();
        session.device.write_all(b"0a").await.unwrap();
        session.device.write_all(hostile).await.unwrap();

        assert_eq!(session.next_at_browser().await.1, b"0a");
        assert_eq!(session.close_at_browser().await, (1011, "device-bad-frame".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_breaks_the_protocol_is_told_how() {
    let too_large = [0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1, 7, 7, 7, 7];
    let mut bad_close = Vec::new();
    append_close(&mut bad_close, MASK, 1005, "");
    for (bytes, code) in [(&b"\x82\x01x"[..], 1002), (&too_large, 1009), (&bad_close, 1002)] {
        let mut session = Session::opened().await;
        session.browser.write_all(bytes).await.unwrap();

        assert_eq!(session.close_at_browser().await.0, code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_leaves_ends_the_shell() {
    let mut session = Session::opened().await;
    let mut close = Vec::new();
    append_close(&mut close, MASK, 1001, "");
    session.browser.write_all(&close).await.unwrap();

    assert_eq!(session.close_at_browser().await, (1001, String::new()));
    assert_eq!(session.next_at_device().await.0, Opcode::Close);
    assert_eq!(session.device.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(session.ended().await.ending, Ending::BrowserLeft(Some(1001)));
}

#[tokio::test(start_paused = true)]
async fn a_slow_browser_stops_the_device_and_loses_nothing() {
    let session = Session::start(4096);
    let (mut device, mut browser) = (session.device, session.browser);
    let mut flood = Vec::new();
    for number in 0..200_u32 {
        append_frame(
            &mut flood,
            Opcode::Binary,
            None,
            &[b"0", &number.to_be_bytes(), &[b'x'; 4090]],
        );
    }
    let mut sent = 0;
    while let Ok(Ok(taken @ 1..)) = timeout(Duration::from_secs(1), device.write(&flood[sent..])).await {
        sent += taken;
    }
    // Each pipe holds 4 KiB; the relay holds what it read before it knew that the browser is slow.
    assert!(sent < 32 * 1024, "the relay hoards {sent} bytes");

    let mut seen = vec![0; flood.len()];
    let (written, read) = tokio::join!(device.write_all(&flood[sent..]), browser.read_exact(&mut seen));

    written.unwrap();
    read.unwrap();
    assert!(seen == flood);
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_takes_nothing_for_30_seconds_ends_the_session() {
    let mut session = Session::start(1024);
    let flood = [b"\x82\x7E\x04\x00".to_vec(), vec![b'0'; 1024]].concat().repeat(8);
    let (_device, ended) = tokio::join!(
        timeout(Duration::from_mins(1), session.device.write_all(&flood)),
        session.relay
    );

    assert_eq!(ended.unwrap().ending, Ending::BrowserStalled);
}

#[tokio::test(start_paused = true)]
async fn the_device_hears_a_pong_every_2_and_a_half_seconds() {
    let mut session = Session::start(4096);

    let begin = tokio::time::Instant::now();
    for beat in 1..=5_u32 {
        assert_eq!(session.any_at_device().await.0, Opcode::Pong);
        assert_eq!(begin.elapsed(), TICK * beat);
    }
}

#[tokio::test(start_paused = true)]
async fn silence_of_either_side_ends_the_session() {
    let mut session = Session::opened().await;
    let talker = async {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            if session.browser.write_all(&[0x8A, 0x80, 1, 2, 3, 4]).await.is_err() {
                return;
            }
        }
    };
    let (ended, ()) = tokio::join!(session.relay, talker);
    assert_eq!(ended.unwrap().ending, Ending::DeviceLost);

    let mut session = Session::opened().await;
    let talker = async {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            if session.device.write_all(&[0x8A, 0x00]).await.is_err() {
                return;
            }
        }
    };
    let (ended, ()) = tokio::join!(session.relay, talker);
    assert_eq!(ended.unwrap().ending, Ending::BrowserLost);
}

#[tokio::test(start_paused = true)]
async fn signs_of_life_are_no_activity() {
    let mut session = Session::opened().await;
    let begin = tokio::time::Instant::now();
    let talker = async {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            if session.device.write_all(&[0x8A, 0x00]).await.is_err()
                || session.browser.write_all(&[0x8A, 0x80, 1, 2, 3, 4]).await.is_err()
            {
                return;
            }
        }
    };

    let (ended, ()) = tokio::join!(session.relay, talker);

    assert_eq!(ended.unwrap().ending, Ending::Idle);
    assert!(begin.elapsed() < Duration::from_mins(16));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_tiny_frames_is_throttled_and_then_ended() {
    let session = Session::opened().await;
    let flood = [0x8A, 0x80, 1, 2, 3, 4].repeat(1000);
    let mut browser = session.browser;
    let flooder = async {
        while browser.write_all(&flood).await.is_ok() {}
        browser
    };

    let (ended, _browser) = tokio::join!(session.relay, flooder);

    assert_eq!(ended.unwrap().ending, Ending::BrowserBroke(Violation::TooMany));
}

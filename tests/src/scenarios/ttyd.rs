//! Terminals through the proxy to a genuine ttyd 1.7.7.

mod proxy;
pub(super) mod terminal;

use std::time::Duration;

use common::domain::SessionLedger as _;

use self::proxy::Proxy;
use self::terminal::Terminal;
use crate::failure::{Failure, ensure};
use crate::real::ttyd::Ttyd;
use crate::stage::Stage;

/// `seq 1 LINES` is a bit more than 20 MB on a terminal, where a line ends with two bytes.
const LINES: u32 = 2_400_000;

/// Longer than ttyd waits for a client that gives no sign of life (10 s).
const READER_RESTS: Duration = Duration::from_secs(13);

/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(10);

pub(super) async fn play(stage: &Stage) -> Result<(), Failure> {
    let device = stage
        .step("ttyd starts on a device of its own", Ttyd::start(stage))
        .await?;
    let proxy = stage.step("the proxy starts", Proxy::start()).await?;
    let mut terminal = stage.step("a terminal opens", proxy.open()).await?;
    stage
        .step("the shell runs a command", runs_a_command(&mut terminal))
        .await?;
    stage
        .step("TTYD_USER names the person", names_the_person(&mut terminal))
        .await?;
    stage
        .step("the shell has the page's size", has_the_size(&mut terminal))
        .await?;
    stage
        .step(
            "20 MB arrive byte for byte at a slow reader",
            sends_everything(&mut terminal),
        )
        .await?;
    stage
        .step(
            "the end of the shell is 1000",
            ends_with_the_shell(&mut terminal, &proxy),
        )
        .await?;
    stage
        .step("a lost connection is no lost shell", comes_back(&proxy))
        .await?;
    stage
        .step(
            "20 MB over six connections arrive byte for byte",
            changes_connections(&proxy),
        )
        .await?;
    stage
        .step("a restart is 1012, and then a new shell", survives_a_restart(proxy))
        .await?;
    drop(device);
    Ok(())
}

async fn runs_a_command(terminal: &mut Terminal) -> Result<(), Failure> {
    // No echo and no prompt: what comes is what commands print.
    terminal.type_line("stty -echo; PS1=; echo re''ady").await?;
    terminal.until("ready\r\n").await?;
    let answer = terminal.ask("echo $((6*7))").await?;
    ensure(answer == "42", format_args!("6*7 is {answer}"))
}

async fn names_the_person(terminal: &mut Terminal) -> Result<(), Failure> {
    let user = terminal.ask("echo $TTYD_USER").await?;
    let fits = user.starts_with("operator.") && user.len() <= 29;
    ensure(fits, format_args!("TTYD_USER is {user:?}"))
}

async fn has_the_size(terminal: &mut Terminal) -> Result<(), Failure> {
    let first = terminal.ask("stty size").await?;
    ensure(first == "30 100", format_args!("the first size is {first:?}"))?;
    terminal.say(br#"1{"columns":132,"rows":43}"#).await?;
    // ttyd has it before the next message; the shell hears of it by a signal.
    let then = terminal.ask("stty size").await?;
    ensure(then == "43 132", format_args!("the next size is {then:?}"))
}

async fn sends_everything(terminal: &mut Terminal) -> Result<(), Failure> {
    begins_to_send(terminal).await?;
    tokio::time::sleep(READER_RESTS).await;
    let expected = what_follows();
    ensure(expected.len() > 20_000_000, "the output is too short for this test")?;
    terminal.expect(expected.as_bytes()).await
}

async fn begins_to_send(terminal: &mut Terminal) -> Result<(), Failure> {
    terminal
        .type_line(&format!("echo beg''in; seq 1 {LINES}; echo e''nd"))
        .await?;
    terminal.until("begin\r\n").await.map(drop)
}

/// All that the device shows behind the beginning.
fn what_follows() -> String {
    let mut expected = String::new();
    for number in 1..=LINES {
        expected.push_str(&number.to_string());
        expected.push_str("\r\n");
    }
    expected.push_str("end\r\n");
    expected
}

async fn ends_with_the_shell(terminal: &mut Terminal, proxy: &Proxy) -> Result<(), Failure> {
    terminal.type_line("exit").await?;
    let code = terminal.closed().await?;
    ensure(code == 1000, format_args!("closed with {code}"))?;
    proxy.last_session_ended_as("shell_exited").await
}

async fn comes_back(proxy: &Proxy) -> Result<(), Failure> {
    let mut terminal = proxy.open_to_resume().await?;
    terminal.type_line("stty -echo; PS1=; echo re''ady").await?;
    terminal.until("ready\r\n").await?;
    let shell = terminal.ask("echo $$").await?;
    terminal.type_line("sleep 1; echo while-a''way").await?;
    let mut terminal = proxy.come_back(terminal, true).await?;
    terminal.until("while-away\r\n").await?;
    let same = terminal.ask("echo $$").await?;
    ensure(same == shell, format_args!("shell {shell} became {same}"))?;
    let size = terminal.ask("stty size").await?;
    ensure(size == "30 100", format_args!("the size is {size:?}"))
}

async fn changes_connections(proxy: &Proxy) -> Result<(), Failure> {
    let mut terminal = proxy.open_to_resume().await?;
    terminal.type_line("stty -echo; PS1=; echo re''ady").await?;
    terminal.until("ready\r\n").await?;
    begins_to_send(&mut terminal).await?;
    // It rests longer than ttyd would wait by itself.
    tokio::time::sleep(READER_RESTS).await;
    let expected = what_follows();
    let part = expected.len() / 6 + 1;
    for (index, due) in expected.as_bytes().chunks(part).enumerate() {
        if index > 0 {
            terminal = proxy.come_back(terminal, false).await?;
        }
        terminal.expect(due).await?;
    }
    Ok(())
}

async fn survives_a_restart(proxy: Proxy) -> Result<(), Failure> {
    let mut before = proxy.open().await?;
    before.type_line("stty -echo; PS1=; echo re''ady").await?;
    before.until("ready\r\n").await?;
    let shell = before.ask("echo $$").await?;
    let (code, drained) = tokio::join!(before.closed(), proxy.shutdown.finish(DRAIN));
    let code = code?;
    ensure(code == 1012 && drained, format_args!("closed with {code}"))?;
    let open = proxy.store.sessions(None, true).await?;
    ensure(open.is_empty(), "a session's record is open after the drain")?;

    let proxy = proxy.again().await?;
    let mut after = proxy.open().await?;
    after.type_line("stty -echo; PS1=; echo re''ady").await?;
    after.until("ready\r\n").await?;
    let other = after.ask("echo $$").await?;
    ensure(other != shell, "the shell after the restart is the one before")
}

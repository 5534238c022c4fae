//! A headless Chromium in the hands of `tests/browser/people.mjs`: one line says who does what, one line how it went.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::failure::{Failure, ensure};
use crate::stage::Stage;

/// The longest thing that a person does here: to wait until a right that was taken away is gone.
const PATIENCE: Duration = Duration::from_secs(150);

/// Ends with this.
pub(super) struct Browser {
    pipes: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
    _process: Child,
}

/// A person in front of a browser of their own.
pub(super) struct Tab<'browser> {
    browser: &'browser Browser,
    who: &'static str,
}

impl Browser {
    pub(super) fn start(stage: &Stage) -> Result<Self, Failure> {
        let mut process = Command::new("node")
            .arg(stage.installed("browser")?.join("people.mjs"))
            .arg(stage.log("terminal-browser")?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(Failure::new("the browser has no pipes"));
        };
        Ok(Self {
            pipes: Mutex::new((input, BufReader::new(output).lines())),
            _process: process,
        })
    }

    pub(super) fn tab(&self, who: &'static str) -> Tab<'_> {
        Tab { browser: self, who }
    }
}

impl Tab<'_> {
    /// Has something done, and returns what came of it.
    pub(super) async fn does(&self, what: &str, with: Value) -> Result<Value, Failure> {
        let order = json!({"who": self.who, "do": what, "with": with});
        let (input, output) = &mut *self.browser.pipes.lock().await;
        input.write_all(format!("{order}\n").as_bytes()).await?;
        let line = timeout(PATIENCE, output.next_line()).await??;
        let line = line.ok_or_else(|| Failure::new("the browser ended"))?;
        let mut answer: Value = serde_json::from_str(&line)?;
        let failure = answer["failed"].as_str().unwrap_or_default();
        ensure(failure.is_empty(), format_args!("{} {what}: {failure}", self.who))?;
        Ok(answer["came"].take())
    }

    /// Runs a command, and waits for what it prints.
    pub(super) async fn prints(&self, command: &str, output: &str) -> Result<(), Failure> {
        self.does("run", json!([command])).await?;
        self.sees(output).await
    }

    pub(super) async fn sees(&self, output: &str) -> Result<(), Failure> {
        self.does("sees", json!([output])).await.map(drop)
    }
}

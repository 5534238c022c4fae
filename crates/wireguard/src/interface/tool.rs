use std::ffi::OsStr;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// How long `ip` or `nft` may take: they speak to the kernel only.
const DEADLINE: Duration = Duration::from_secs(5);

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It could not be started or spoken to: not installed, or no memory.
    #[error("`{program}` cannot be run")]
    Run {
        /// Its name.
        program: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// It did not end in time.
    #[error("`{program}` did not end within {} s", DEADLINE.as_secs())]
    Slow {
        /// Its name.
        program: &'static str,
    },
    /// It said no.
    #[error("`{program}` ended with {status}: {words}")]
    Refused {
        /// Its name.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote on its standard error.
        words: String,
    },
}

/// Runs a command with fixed arguments, and returns what it wrote.
pub(super) async fn run(
    program: &'static str,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    input: &str,
) -> Result<String, ToolError> {
    let failed = |source| ToolError::Run { program, source };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    let mut stdin = child.stdin.take().expect("the standard input is a pipe");
    let talk = async {
        let written = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        (written, child.wait_with_output().await)
    };
    let (written, output) = timeout(DEADLINE, talk).await.map_err(|_| ToolError::Slow { program })?;
    let output = output.map_err(failed)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(ToolError::Refused {
            program,
            status: output.status,
            words,
        });
    }
    written.map_err(failed)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_commands_answer_and_its_refusal_are_told_apart() {
        assert_eq!(run("cat", ["-"], "hello").await.unwrap(), "hello");
        let refused = run("ls", ["/no such folder"], "").await.unwrap_err();
        assert!(
            matches!(&refused, ToolError::Refused { words, .. } if words.contains("no such folder")),
            "{refused:?}"
        );
        let missing = run("no-such-program", [""; 0], "").await.unwrap_err();
        assert!(matches!(missing, ToolError::Run { .. }), "{missing:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_hangs_is_given_up() {
        let result = run("sleep", ["1000"], "").await;
        assert!(
            matches!(result, Err(ToolError::Slow { program: "sleep" })),
            "{result:?}"
        );
    }
}

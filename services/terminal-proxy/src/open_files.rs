//! Every session has two sockets, and a usual soft limit is 1,024 files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// As many files as sessions, browsers without a session and the rest may need.
const ENOUGH: u64 = 24_576;

/// Raises the soft limit of open files to the hard one.
pub(crate) fn allow_as_many_as_possible() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() {
        maximum
    } else {
        current
    };
    if let Some(files) = limit.filter(|files| *files < ENOUGH) {
        warn!(
            files,
            "This process may open {files} files; {ENOUGH} are needed for everything that it may serve"
        );
    }
}

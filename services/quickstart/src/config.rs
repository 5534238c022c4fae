//! The command line: `cargo run -p quickstart -- --help` is the manual.

use std::path::PathBuf;

use clap::Parser;

/// Runs iot-bridge in one process: certificate authority, both services, a login and simulated devices, on loopback,
/// as an ordinary user.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub struct Config {
    /// Walk the whole path without a browser, print one line a step with its time, and end.
    #[arg(long)]
    pub check: bool,
    /// How many simulated devices to run (1 to 250).
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=250))]
    pub devices: u16,
    /// Where the data is kept; a second start with the same folder finds its fleet. Without it nothing is kept.
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Port of iot-bridge-api on 127.0.0.1 (0: any free one).
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    pub api_port: u16,
    /// Port of terminal-proxy and its web page on 127.0.0.1 (0: any free one).
    #[arg(long, value_name = "PORT", default_value_t = 8888)]
    pub proxy_port: u16,
    /// Port of the login on 127.0.0.1 (0: any free one).
    #[arg(long, value_name = "PORT", default_value_t = 8180)]
    pub login_port: u16,
    /// Which sites may show the web page in a frame, in the words of the CSP directive `frame-ancestors`.
    #[arg(long, value_name = "SOURCES", default_value = "'none'")]
    pub frame_ancestors: String,
    /// Write the demo password into this file (mode 0600) as well, for scripts.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Which log lines to print on stderr, as in `info` or `warn,iot_bridge_api=debug`.
    #[arg(long, value_name = "FILTER", default_value = "warn", env = "RUST_LOG")]
    pub log: String,
}

//! The built bridge in a process of its own.

use std::process::Command;

use tempfile::TempDir;

use crate::client::Clients;
use crate::cpu::Program;
use crate::postgres::Postgres;
use crate::process::{Process, free_port, printed};
use crate::step_ca::StepCa;

pub(crate) struct Bridge {
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) clients: Clients,
    process: Process,
    _home: TempDir,
}

impl Bridge {
    pub(crate) fn program(&self) -> Program {
        Program {
            name: "bridge",
            pid: self.process.id(),
        }
    }

    /// Starts one on PostgreSQL, or else on a SQLite file.
    pub(crate) fn start(authority: &StepCa, postgres: Option<&Postgres>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (certificate, key) = (home.path().join("server.crt"), home.path().join("server.key"));
        authority.server_certificate(&certificate, &key);
        let file = || format!("sqlite://{}", home.path().join("bridge.db").display());
        let (plain, tls) = (free_port(), free_port());
        let mut settings = authority.settings();
        settings.extend([
            ("DATABASE_URL", postgres.map_or_else(file, Postgres::url)),
            ("TOKEN_PEPPER", "p".repeat(32)),
            ("WG_PRIVATE_KEY_FILE", home.path().join("hub.key").display().to_string()),
            ("WG_PORT", free_port().to_string()),
            ("WG_SUBNET", "10.8.0.0/16".to_owned()),
            ("BIND", format!("127.0.0.1:{plain}")),
            ("TLS_BIND", format!("127.0.0.1:{tls}")),
            ("TLS_CERT_FILE", certificate.display().to_string()),
            ("TLS_KEY_FILE", key.display().to_string()),
        ]);
        let command = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_iot-bridge-api"));
            command.args(arguments).env_clear();
            command.envs(settings.iter().map(|(name, value)| (*name, value.as_str())));
            command
        };
        printed(&mut command(&["migrate"]));
        let order = ["token", "create", "--pattern", "*", "--quota", "60000"];
        let said = printed(&mut command(&order));
        let token = said.lines().find(|line| line.starts_with("ibt_")).unwrap();
        let process = Process::start(command(&["serve"]), &home.path().join("log"), tls);
        Self {
            url: format!("https://localhost:{tls}/devices"),
            token: token.to_owned(),
            clients: Clients::new(&authority.root_pem()),
            process,
            _home: home,
        }
    }
}

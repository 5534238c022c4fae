//! What stands between client and device.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread::{available_parallelism, sleep};
use std::time::Duration;

use crate::process::Process;
use crate::proxy;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Nothing.
    Direct,
    /// nginx with Debian's settings, access log off, no login check.
    Nginx,
    /// This library, with login check and durable audit.
    Proxy,
    /// The same, and everything that is shown is recorded.
    Recorded,
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Proxy => "terminal-proxy",
            Self::Recorded => "recorded",
        }
    }
}

/// How to open a terminal.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) port: u16,
    /// One for each device; for all of them where they are not told apart.
    pub(crate) paths: Vec<String>,
    pub(crate) token: Option<String>,
}

/// A peer that runs.
pub(crate) struct Running {
    pub(crate) door: Door,
    /// None for the direct connection.
    pub(crate) process: Option<Process>,
}

/// The device, and a folder for everything that is written.
pub(crate) struct Stage {
    pub(crate) device: Process,
    device_port: u16,
    folder: PathBuf,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let (device, port) = Process::role(&["device"]);
        let folder = std::env::temp_dir().join(format!("terminal-proxy-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self {
            device,
            device_port: port.parse().unwrap(),
            folder,
        }
    }

    /// Lists the peers that can be had.
    pub(crate) fn peers() -> Vec<Peer> {
        let has_nginx = Command::new("nginx").arg("-v").output().is_ok();
        let all = [Peer::Direct, Peer::Nginx, Peer::Proxy];
        all.into_iter()
            .filter(|peer| has_nginx || *peer != Peer::Nginx)
            .collect()
    }

    /// Starts a fresh one, so that no measurement leaves traces in the next.
    pub(crate) fn start(&self, peer: Peer) -> Running {
        self.start_before(peer, self.device_port)
    }

    /// Starts one before another device.
    pub(crate) fn start_before(&self, peer: Peer, device_port: u16) -> Running {
        match peer {
            Peer::Direct => Running {
                door: Door {
                    port: device_port,
                    paths: vec!["/ws".to_owned()],
                    token: None,
                },
                process: None,
            },
            Peer::Nginx => self.nginx(device_port),
            Peer::Proxy => self.proxy(device_port, None),
            Peer::Recorded => self.proxy(device_port, Some("recordings")),
        }
    }

    fn nginx(&self, device_port: u16) -> Running {
        let port = free_port();
        let folder = self.folder.display();
        // As the runtime of the proxy does: one worker for each processor that this process may use.
        let workers = match available_parallelism().unwrap().get() {
            1 => "master_process off;".to_owned(),
            processors => format!("worker_processes {processors};"),
        };
        let configuration = format!(
            "daemon off; {workers} pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n\
             worker_rlimit_nofile 20000; events {{ worker_connections 10000; }}\n\
             http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};\n\
             fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};\n\
             map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}\n\
             server {{ listen 127.0.0.1:{port} backlog=4096;\n\
             location / {{ proxy_pass http://127.0.0.1:{device_port}; proxy_http_version 1.1;\n\
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; }} }} }}\n"
        );
        let file = self.folder.join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let process = Process::start(
            Command::new("nginx")
                .arg("-c")
                .arg(file)
                .arg("-e")
                .arg(self.folder.join("start.log")),
        );
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            sleep(Duration::from_millis(20));
        }
        Running {
            door: Door {
                port,
                paths: vec!["/ws".to_owned()],
                token: None,
            },
            process: Some(process),
        }
    }

    fn proxy(&self, device_port: u16, recordings: Option<&str>) -> Running {
        let recordings = recordings.map(|folder| self.folder.join(folder));
        if let Some(folder) = &recordings {
            drop(fs::remove_dir_all(folder));
        }
        let database = self.folder.join("proxy.db");
        for ending in ["", "-wal", "-shm"] {
            drop(fs::remove_file(format!("{}{ending}", database.display())));
        }
        let recordings = recordings.map(|folder| format!(" {}", folder.display()));
        let arguments = format!(
            "{} {}{}",
            device_port,
            database.display(),
            recordings.unwrap_or_default()
        );
        let (process, line) = Process::role(&["proxy", &arguments]);
        let (port, token) = line.split_once(' ').unwrap();
        Running {
            door: Door {
                port: port.parse().unwrap(),
                paths: proxy::devices().map(|name| format!("/terminal/{name}")).collect(),
                token: Some(token.to_owned()),
            },
            process: Some(process),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

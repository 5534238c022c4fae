use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::process::{Pid, Signal, Uid, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space, set_thread_res_uid};
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::failure::{Failure, ensure};

/// A network namespace; it and the processes in it end when this is dropped.
#[derive(Debug)]
pub(in crate::scenarios) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace; what an earlier run left of it goes.
    pub(in crate::scenarios) async fn new(name: &str) -> Result<Self, Failure> {
        let namespace = Self { name: name.to_owned() };
        namespace.clear();
        run("ip", &["netns", "add", name]).await?;
        namespace.run("ip", &["link", "set", "lo", "up"]).await?;
        Ok(namespace)
    }

    pub(in crate::scenarios) fn name(&self) -> &str {
        &self.name
    }

    /// Prepares a command that runs inside.
    pub(in crate::scenarios) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name])
            .arg(program)
            .kill_on_drop(true);
        command
    }

    /// Runs a command inside, and returns what it wrote.
    pub(in crate::scenarios) async fn run(&self, program: &str, arguments: &[&str]) -> Result<String, Failure> {
        let inside = ["netns", "exec", &self.name, program];
        run("ip", &[inside.as_slice(), arguments].concat()).await
    }

    /// Opens ports, and accepts and closes every connection.
    pub(in crate::scenarios) async fn serve(
        &self,
        ports: impl IntoIterator<Item = u16>,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), Failure> {
        for port in ports {
            let listener = self
                .inside(0, move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
                .await?;
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tasks.spawn(async move { while listener.accept().await.is_ok() {} });
        }
        Ok(())
    }

    /// Listens inside, on its loopback.
    pub(in crate::scenarios) async fn listen(&self, port: u16) -> Result<tokio::net::TcpListener, Failure> {
        let listener = self
            .inside(0, move || TcpListener::bind((Ipv4Addr::LOCALHOST, port)))
            .await?;
        listener.set_nonblocking(true)?;
        Ok(tokio::net::TcpListener::from_std(listener)?)
    }

    /// Opens a connection from inside, as a user.
    pub(in crate::scenarios) async fn connect(
        &self,
        uid: u32,
        to: SocketAddrV4,
        within: Duration,
    ) -> io::Result<TcpStream> {
        self.inside(uid, move || TcpStream::connect_timeout(&SocketAddr::V4(to), within))
            .await
    }

    /// Does something in a thread that lives inside, as a user. A socket stays where it was made.
    async fn inside<T: Send + 'static>(
        &self,
        uid: u32,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let namespace = File::open(format!("/run/netns/{}", self.name))?;
        let (answer, answered) = oneshot::channel();
        std::thread::Builder::new().spawn(move || {
            let enter = || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                let uid = Uid::from_raw(uid);
                set_thread_res_uid(uid, uid, uid)?;
                work()
            };
            drop(answer.send(enter())); // whoever has gone does not care
        })?;
        answered.await.map_err(io::Error::other)?
    }

    /// Ends what runs inside, and the namespace; nothing of it has to be there.
    fn clear(&self) {
        let ip = |arguments: &[&str]| std::process::Command::new("ip").args(arguments).output();
        let processes = ip(&["netns", "pids", &self.name])
            .map(|output| output.stdout)
            .unwrap_or_default();
        for process in String::from_utf8_lossy(&processes).lines() {
            if let Some(process) = process.trim().parse().ok().and_then(Pid::from_raw) {
                kill_process(process, Signal::KILL).unwrap_or(()); // gone already is as good
            }
        }
        drop(ip(&["netns", "delete", &self.name]));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Runs a command, and returns what it wrote.
pub(in crate::scenarios) async fn run(program: &str, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new(program)
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure(
        output.status.success(),
        format_args!("{program} {}: {}", arguments.join(" "), words.trim()),
    )?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

//! Two processes are restarted one after the other, under people: nobody is refused, and everybody is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use super::client::Person;
use super::proxies::{Ground, Proxy};
use super::two_processes;
use crate::failure::{Failure, ensure};
use crate::stage::{Stage, say};

const ALL: usize = 1000;
const SOME: usize = 40;

/// How many open their terminal at the same time before the restart.
const AT_ONCE: usize = 16;

/// Nobody comes back later than this.
const LATEST_RETURN: Duration = Duration::from_mins(1);

pub(crate) async fn play(stage: &Stage) -> Result<(), Failure> {
    let sessions = if stage.is_full { ALL } else { SOME };
    let ground = stage
        .step("a database, an issuer and a device", Ground::prepare(stage))
        .await?;
    let first = stage.step("the first proxy starts", ground.proxy("proxy-1")).await?;
    let second = stage.step("the second proxy starts", ground.proxy("proxy-2")).await?;
    let proxies = [first, second];
    stage
        .step(
            "a person whose connection breaks finds their shell through the other proxy",
            two_processes::a_shell_is_found_through_the_other(&ground, &proxies),
        )
        .await?;
    stage
        .step(
            "a session is killed through the other proxy",
            two_processes::a_kill_order_arrives(&ground, &proxies),
        )
        .await?;
    let entrance = Arc::new(Entrance {
        processes: proxies.each_ref().map(|proxy| proxy.address),
        token: ground.token(),
        ..Entrance::default_counts()
    });
    let name = format!("{sessions} people have a terminal");
    let people = stage.step(&name, gather(&entrance, sessions)).await?;
    let visitors = Visitors::arrive(&entrance);
    let restarted = stage
        .step(
            "both are restarted, one after the other",
            restart(&ground, proxies, &entrance, sessions),
        )
        .await?;
    let newcomers = visitors.leave().await?;
    stage
        .step("everybody was told, and has a new shell", all_are_back(people))
        .await?;
    say(format_args!(
        "  {} ends with 1012, {} came back to a new shell, {newcomers} newcomers meanwhile, nobody refused",
        entrance.told.load(Ordering::Relaxed),
        entrance.back.load(Ordering::Relaxed),
    ));
    stage
        .step(
            "every record is closed, and the audit chain holds",
            ground.all_records_are_closed(),
        )
        .await?;
    stage
        .step(
            "a device that is decommissioned takes its sessions along on both",
            two_processes::a_device_leaves(&ground, &restarted),
        )
        .await
}

/// What stands in front of the processes: it asks the next one when one takes no connection, or says that it stops.
struct Entrance {
    processes: [SocketAddr; 2],
    token: String,
    turn: AtomicUsize,
    told: AtomicUsize,
    back: AtomicUsize,
    is_over: AtomicBool,
}

impl Entrance {
    fn default_counts() -> Self {
        Self {
            processes: [SocketAddr::from(([127, 0, 0, 1], 0)); 2],
            token: String::new(),
            turn: AtomicUsize::new(0),
            told: AtomicUsize::new(0),
            back: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    async fn open(&self, old: Option<&str>) -> Result<Person, Failure> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let one = self.processes[turn % 2];
        let other = self.processes[(turn + 1) % 2];
        match Person::open_to_resume(one, &self.token, old).await {
            Ok(person) => Ok(person),
            Err(_is_stopping) => Person::open_to_resume(other, &self.token, old).await,
        }
    }
}

impl Entrance {
    /// Waits until at least so many were told that their process stops, and all who were are back.
    async fn all_back(&self, at_least: usize) -> Result<(), Failure> {
        let back = async {
            let mut looks = interval(Duration::from_millis(100));
            loop {
                looks.tick().await;
                let told = self.told.load(Ordering::Relaxed);
                if told >= at_least && self.back.load(Ordering::Relaxed) >= told {
                    return;
                }
            }
        };
        let waited = timeout(LATEST_RETURN, back).await;
        let told = self.told.load(Ordering::Relaxed);
        ensure(
            waited.is_ok(),
            format_args!("{told} of {at_least} were told, and not all of them came back"),
        )
    }
}

async fn gather(entrance: &Arc<Entrance>, sessions: usize) -> Result<JoinSet<Result<(), Failure>>, Failure> {
    let mut people = JoinSet::new();
    let mut opened = 0;
    while opened < sessions {
        let mut arriving = JoinSet::new();
        for _ in 0..AT_ONCE.min(sessions - opened) {
            let entrance = Arc::clone(entrance);
            arriving.spawn(async move { entrance.open(None).await });
            opened += 1;
        }
        for person in arriving.join_all().await {
            people.spawn(stay(person?, Arc::clone(entrance)));
        }
    }
    Ok(people)
}

/// Stays until the campaign is over; when the process stops, comes back at another one, as the page does, not all in
/// the same moment.
async fn stay(mut person: Person, entrance: Arc<Entrance>) -> Result<(), Failure> {
    loop {
        let mut looks = interval(Duration::from_millis(200));
        let over = async {
            while !entrance.is_over.load(Ordering::Relaxed) {
                looks.tick().await;
            }
        };
        let code = tokio::select! {
            code = person.closed() => code?,
            () = over => {
                person.echo().await?;
                return person.exit().await;
            }
        };
        ensure(code == 1012, format_args!("a person was told {code}"))?;
        let told = entrance.told.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(u64::try_from(told % 20).unwrap_or(0) * 100)).await;
        let session = person.greeting.map(|greeting| greeting.session);
        person = timeout(LATEST_RETURN, entrance.open(session.as_deref())).await??;
        let is_new = person.greeting.as_ref().is_some_and(|greeting| !greeting.resumed);
        ensure(is_new, "a shell outlived its process")?;
        entrance.back.fetch_add(1, Ordering::Relaxed);
    }
}

/// Restarts one when everybody is back from the other.
async fn restart(
    ground: &Ground,
    proxies: [Proxy; 2],
    entrance: &Entrance,
    sessions: usize,
) -> Result<[Proxy; 2], Failure> {
    let [first, second] = proxies;
    let first = ground.restart(first).await?;
    entrance.all_back(0).await?;
    let second = ground.restart(second).await?;
    // Each had a session in one of the two.
    entrance.all_back(sessions).await?;
    entrance.is_over.store(true, Ordering::Relaxed);
    Ok([first, second])
}

async fn all_are_back(people: JoinSet<Result<(), Failure>>) -> Result<(), Failure> {
    for person in timeout(LATEST_RETURN, people.join_all()).await? {
        person?;
    }
    Ok(())
}

/// People who come for the first time all the while.
struct Visitors {
    task: JoinSet<Result<usize, Failure>>,
}

impl Visitors {
    fn arrive(entrance: &Arc<Entrance>) -> Self {
        let entrance = Arc::clone(entrance);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut visits = 0;
            let mut due = interval(Duration::from_millis(100));
            while !entrance.is_over.load(Ordering::Relaxed) {
                due.tick().await;
                // One who came to a process that is about to stop hears 1012 instead of a prompt, and asks again.
                let mut tries = 0;
                let person = loop {
                    tries += 1;
                    match entrance.open(None).await {
                        Ok(person) => break person,
                        Err(failure) if tries == 3 => return Err(failure.during("a newcomer")),
                        Err(_) => {}
                    }
                };
                let code = person
                    .leave()
                    .await
                    .map_err(|failure| failure.during("a newcomer leaves"))?;
                ensure([1000, 1012].contains(&code), format_args!("a newcomer was told {code}"))?;
                visits += 1;
            }
            Ok(visits)
        });
        Self { task }
    }

    async fn leave(self) -> Result<usize, Failure> {
        let mut visits = 0;
        for visited in self.task.join_all().await {
            visits += visited?;
        }
        Ok(visits)
    }
}

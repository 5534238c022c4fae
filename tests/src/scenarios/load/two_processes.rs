//! What two processes over one database owe to each other's people.

use std::time::{Duration, Instant};

use common::domain::{Actor, DeviceRegistry as _};
use reqwest::StatusCode;
use tokio::time::timeout;

use super::client::Person;
use super::proxies::{Ground, Proxy};
use crate::failure::{Failure, ensure};
use crate::real::keycloak::patient_client;
use crate::stage::say;

/// A device that is decommissioned, or a session that is killed, is gone on every process within this.
const BOUND: Duration = Duration::from_secs(5);

/// A person whose connection breaks comes back at the other process, to the same shell.
pub(super) async fn a_shell_is_found_through_the_other(
    ground: &Ground,
    [first, second]: &[Proxy; 2],
) -> Result<(), Failure> {
    let token = ground.token();
    let person = Person::open_to_resume(first.address, &token, None).await?;
    let session = person.session()?;
    drop(person);
    let mut again = Person::open_to_resume(second.address, &token, Some(&session)).await?;
    let is_the_same = again.greeting.as_ref().is_some_and(|greeting| greeting.resumed);
    ensure(is_the_same, "the shell at the other process is a new one")?;
    again.echo().await?;
    again.exit().await
}

/// A kill order at one process ends a session of the other.
pub(super) async fn a_kill_order_arrives(ground: &Ground, [first, second]: &[Proxy; 2]) -> Result<(), Failure> {
    let token = ground.token();
    let mut person = Person::open_to_resume(first.address, &token, None).await?;
    let url = format!("http://{}/sessions/{}", second.address, person.session()?);
    let began = Instant::now();
    let answer = patient_client()?.delete(url).bearer_auth(&token).send().await?;
    ensure(
        answer.status() == StatusCode::ACCEPTED,
        format_args!("the order was answered with {}", answer.status()),
    )?;
    let code = timeout(BOUND, person.closed()).await??;
    ensure(code == 4403, format_args!("the end is {code}"))?;
    say(format_args!("  ended after {:?}", began.elapsed()));
    Ok(())
}

/// A decommissioned device takes its sessions along, whoever serves them.
pub(super) async fn a_device_leaves(ground: &Ground, [first, second]: &[Proxy; 2]) -> Result<(), Failure> {
    let token = ground.token();
    let mut here = Person::open(first.address, &token).await?;
    let mut there = Person::open(second.address, &token).await?;
    let began = Instant::now();
    ground.store.retire(&"pump-1".parse()?, &Actor::Console, &[]).await?;
    let both = async { tokio::join!(here.closed(), there.closed()) };
    let (here, there) = timeout(BOUND, both).await?;
    let codes = [here?, there?];
    ensure(codes == [4404, 4404], format_args!("the ends are {codes:?}"))?;
    say(format_args!("  both ended after {:?}", began.elapsed()));
    Ok(())
}

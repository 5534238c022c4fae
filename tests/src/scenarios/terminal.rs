//! A person's way to a shell, with nothing of ours in between but ourselves: a genuine Keycloak with the realm of
//! `deploy/keycloak`, a headless Chromium, the built terminal-proxy beside the hub's process and its firewall rules, a
//! WireGuard tunnel, and a genuine ttyd 1.7.7 at its end. Needs root.

mod browser;
mod device;
mod passage;
mod proxy;
mod world;

use std::time::Duration;

use serde_json::json;

use self::browser::Tab;
use self::world::World;
use crate::failure::{Failure, ensure};
use crate::stage::Stage;

/// `seq 1 LINES` is a bit more than 20 MB on a terminal, where a line ends with two bytes.
const LINES: u32 = 2_400_000;

/// Longer than ttyd waits for a client that gives no sign of life (10 s).
const READER_RESTS: Duration = Duration::from_secs(13);

pub(super) async fn play(stage: &Stage) -> Result<(), Failure> {
    ensure(
        rustix::process::getuid().is_root(),
        "network namespaces can be made by root only",
    )?;
    let mut world = World::build(stage).await?;
    works(stage, &world).await?;
    is_shared(stage, &world).await?;
    changes(stage, &mut world).await
}

/// One person at work.
async fn works(stage: &Stage, world: &World) -> Result<(), Failure> {
    let enters = world.enters("olga");
    let olga = stage
        .step("logs in with Keycloak in a browser and sees the device", enters)
        .await?;
    stage
        .step("has a shell through the tunnel that knows her name", has_a_shell(&olga))
        .await?;
    stage
        .step("the shell follows the window's size", follows_the_window(&olga))
        .await?;
    let sent = world.sends_everything();
    stage.step("20 MB arrive byte for byte at a slow reader", sent).await?;
    stage
        .step("reloads the page and goes on in the same shell", reloads(&olga))
        .await
}

/// Others beside her, and her terminal in another page.
async fn is_shared(stage: &Stage, world: &World) -> Result<(), Failure> {
    let olga = world.tab("olga");
    stage
        .step("another operator types along by her link", types_along(world, &olga))
        .await?;
    let watched = watches(world, &olga);
    stage
        .step("an administrator watches, and sees what was before", watched)
        .await?;
    stage
        .step("an update that runs is on her page", world.announces_an_update(&olga))
        .await?;
    let framed = world.opens_in_a_frame(&olga);
    stage.step("opens in another site's frame without a word", framed).await
}

/// What an administrator does, and what happens to the proxy, while people are at work.
async fn changes(stage: &Stage, world: &mut World) -> Result<(), Failure> {
    let rotated = world.rotates_keys("olga");
    stage
        .step("a new signing key, and the old one disabled: she goes on", rotated)
        .await?;
    let restarted = world.restarts("olga");
    stage
        .step("the proxy restarts, and the page comes back to a new shell", restarted)
        .await?;
    let disabled = world.ends_while_typing("otto", World::disables);
    stage
        .step("who is disabled while typing is out within a minute", disabled)
        .await?;
    let demoted = world.ends_while_typing("rita", World::takes_the_role_away);
    stage
        .step("who loses the role while typing is out within a minute", demoted)
        .await
}

async fn has_a_shell(olga: &Tab<'_>) -> Result<(), Failure> {
    olga.does("openDevice", json!([world::DEVICE])).await?;
    olga.prints("echo $((6*7))-here", "42-here").await?;
    olga.prints("echo user-$TTYD_USER.", "user-olga.").await
}

async fn follows_the_window(olga: &Tab<'_>) -> Result<(), Failure> {
    let before = olga.does("deviceSize", json!([])).await?;
    olga.does("resize", json!([900, 520])).await?;
    let smaller = json!([before["columns"], before["rows"]]);
    olga.does("waitForSmallerDevice", smaller).await?;
    olga.does("resize", json!([1280, 800])).await.map(drop)
}

async fn reloads(olga: &Tab<'_>) -> Result<(), Failure> {
    olga.prints("kept=$((30+1)); echo set-$kept", "set-31").await?;
    olga.does("reload", json!([])).await?;
    olga.prints("echo kept-$kept.", "kept-31.").await
}

async fn types_along(world: &World, olga: &Tab<'_>) -> Result<(), Failure> {
    let otto = world.enters("otto").await?;
    let link = olga.does("share", json!([])).await?;
    otto.does("join", json!([link])).await?;
    otto.prints("echo together-$((20+4))", "together-24").await?;
    olga.sees("together-24").await?;
    olga.does("stopSharing", json!([])).await?;
    otto.does("run", json!(["echo uninvited"])).await?;
    olga.prints("echo alone-$((20+5))", "alone-25").await?;
    olga.does("seesNot", json!(["uninvited"])).await?;
    otto.does("close", json!([])).await.map(drop)
}

async fn watches(world: &World, olga: &Tab<'_>) -> Result<(), Failure> {
    let ada = world.enters("ada").await?;
    ada.does("watch", json!(["olga"])).await?;
    ada.sees("alone-25").await?;
    olga.prints("echo seen-$((20+6))", "seen-26").await?;
    ada.sees("seen-26").await?;
    ada.does("close", json!([])).await.map(drop)
}

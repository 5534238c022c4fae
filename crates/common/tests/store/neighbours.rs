use std::time::Duration;

use common::domain::{
    Actor, Clock, Drift, DriftKind, DriftLedger, EventInbox, EventOrders, EventOutcome, JobAction, JobQueue, JobState,
    PlatformEvent, PlatformEventKind, System, Timestamp, UpdateLedger, UpdateReport, UpdateStatus,
};

use super::databases::TestDatabase;
use super::fleet::{Fleet, id, random_digest};

pub(crate) async fn a_connection_is_recorded_once_and_only_moves_forward<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    let noon = fleet.clock.now();
    let (late, early) = (
        connected("pump-7", noon),
        connected("pump-7", noon - Duration::from_hours(1)),
    );

    assert_eq!(tell(&fleet, &late).await, EventOutcome::Recorded);
    assert_eq!(tell(&fleet, &late).await, EventOutcome::Duplicate);
    assert_eq!(tell(&fleet, &early).await, EventOutcome::Recorded);

    assert_eq!(fleet.find("pump-7").await.unwrap().last_connected_at, Some(noon));
    let orders = fleet.jobs().await;
    let about_updates = orders.iter().filter(|job| job.system == System::UpdateServer);
    assert_eq!(
        about_updates.map(|job| job.action).collect::<Vec<_>>(),
        [JobAction::Ensure]
    );
    fleet.end().await;
}

pub(crate) async fn a_fact_about_nobody_of_ours_is_recorded_without_an_order<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.admit("pump-7").await;

    for name in ["pump-7", "stranger"] {
        let event = connected(name, fleet.clock.now());
        assert_eq!(tell(&fleet, &event).await, EventOutcome::NobodyOfOurs, "{name}");
        assert_eq!(tell(&fleet, &event).await, EventOutcome::Duplicate, "{name}");
    }

    assert_eq!(fleet.jobs().await, []);
    assert_eq!(fleet.find("pump-7").await.unwrap().last_connected_at, None);
    fleet.end().await;
}

pub(crate) async fn a_device_that_is_shut_out_and_seen_again_is_shut_out_again<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    fleet.retire("pump-7").await.unwrap();

    let outcome = tell(&fleet, &connected("pump-7", fleet.clock.now())).await;

    assert_eq!(outcome, EventOutcome::Recorded);
    let jobs = fleet.jobs().await;
    let platform = jobs.iter().find(|job| job.system == System::DevicePlatform).unwrap();
    assert_eq!((platform.action, platform.generation), (JobAction::Remove, 3));
    assert_eq!(fleet.find("pump-7").await.unwrap().last_connected_at, None);
    fleet.end().await;
}

pub(crate) async fn the_steps_of_an_update_are_recorded_once_and_told_once<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    let noon = fleet.clock.now();
    let running = step("pump-7", UpdateStatus::Running, noon);
    let finished = step("pump-7", UpdateStatus::Finished, noon + Duration::from_mins(5));
    let record = async |reports: &[UpdateReport], cursor| {
        let systems = [System::DevicePlatform];
        fleet.store.record_updates(reports, cursor, &systems).await.unwrap()
    };

    let both = [running.clone(), finished.clone()];
    assert_eq!(record(&both, Some(noon)).await, 2);
    assert_eq!(record(&both[1..], Some(noon - Duration::from_hours(1))).await, 0);
    // The same news with another time, and news of a stranger.
    let again = step("pump-7", UpdateStatus::Finished, noon + Duration::from_mins(6));
    assert_eq!(
        record(&[again, step("stranger", UpdateStatus::Running, noon)], None).await,
        0
    );

    assert_eq!(fleet.store.update_cursor().await.unwrap(), Some(noon));
    let history = fleet.store.updates_of(&id("pump-7")).await.unwrap();
    assert_eq!(
        (history.latest.as_ref(), history.untold.as_slice()),
        (Some(&finished), &both[..])
    );
    fleet.store.mark_told(&history.untold).await.unwrap();
    let history = fleet.store.updates_of(&id("pump-7")).await.unwrap();
    assert_eq!((history.latest, history.untold), (Some(finished), vec![]));
    fleet.end().await;
}

pub(crate) async fn what_nobody_waits_for_is_forgotten<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    let noon = fleet.clock.now();
    tell(&fleet, &connected("pump-7", noon)).await;
    let steps = [
        step("pump-7", UpdateStatus::Running, noon),
        step("pump-7", UpdateStatus::Failed, noon + Duration::from_mins(1)),
    ];
    fleet.store.record_updates(&steps, None, &[]).await.unwrap();
    let later = noon + Duration::from_hours(1);

    assert_eq!(fleet.store.forget_before(later).await.unwrap(), 1); // the event
    fleet.store.mark_told(&steps).await.unwrap();
    assert_eq!(fleet.store.forget_before(later).await.unwrap(), 1); // the older step

    let history = fleet.store.updates_of(&id("pump-7")).await.unwrap();
    assert_eq!(history.latest.as_ref(), Some(&steps[1]));
    fleet.end().await;
}

pub(crate) async fn drift_is_what_the_last_comparison_found_and_repairs_are_audited<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    let found = |name: &str, kind| Drift {
        system: System::UpdateServer,
        name: name.to_owned(),
        kind,
    };
    let old = [found("gone", DriftKind::Missing)];
    let new = [
        found("Somebody else's", DriftKind::Foreign),
        found("pump-7", DriftKind::Missing),
    ];
    fleet.store.record_drift(System::UpdateServer, &old).await.unwrap();
    fleet.store.record_drift(System::UpdateServer, &new).await.unwrap();

    let report = fleet.store.drift().await.unwrap();
    assert_eq!(report.checked, [(System::UpdateServer, fleet.clock.now())]);
    assert_eq!(report.drifts, new);
    assert_eq!(
        fleet.store.order_repairs(&report.drifts, &Actor::Bridge).await.unwrap(),
        1
    );

    let jobs = fleet.jobs().await;
    assert!(
        jobs.iter()
            .any(|job| job.system == System::UpdateServer && job.action == JobAction::Ensure)
    );
    assert_eq!(fleet.actions().await.last().unwrap(), "drift.repair_ordered");
    fleet.end().await;
}

pub(crate) async fn a_lease_belongs_to_its_holder_until_it_ends<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let minute = Duration::from_mins(1);
    assert!(fleet.store.take_lease("sweep", minute).await.unwrap());
    assert!(fleet.store.take_lease("sweep", minute).await.unwrap());

    fleet.database.tamper("UPDATE lease SET holder = 'bridge-2'").await;

    assert!(!fleet.store.take_lease("sweep", minute).await.unwrap());
    fleet.store.end_lease("sweep").await.unwrap();
    assert!(!fleet.store.take_lease("sweep", minute).await.unwrap());
    fleet.clock.advance(minute);
    assert!(fleet.store.take_lease("sweep", minute).await.unwrap());
    fleet.store.end_lease("sweep").await.unwrap();
    fleet.end().await;
}

pub(crate) async fn a_system_that_is_back_gets_all_its_orders_at_once<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    let job = fleet.claim_vpn().await.unwrap();
    fleet.store.postpone(&job, "gave up", None).await.unwrap();
    fleet.clock.advance(Duration::from_hours(100));

    assert_eq!(fleet.store.hasten(System::Vpn).await.unwrap(), 1);

    assert!(fleet.store.jobs(Some(JobState::Dead)).await.unwrap().is_empty());
    assert_eq!(fleet.claim_vpn().await.unwrap().created_at, fleet.clock.now());
    fleet.end().await;
}

async fn tell<D: TestDatabase>(fleet: &Fleet<D>, event: &PlatformEvent) -> EventOutcome {
    let orders = EventOrders {
        in_service: vec![System::UpdateServer],
        shut_out: vec![System::DevicePlatform],
    };
    fleet.store.record_event(event, &orders).await.unwrap()
}

fn connected(name: &str, happened_at: Timestamp) -> PlatformEvent {
    PlatformEvent {
        digest: random_digest(),
        device_id: id(name),
        kind: PlatformEventKind::Connected,
        happened_at,
    }
}

fn step(name: &str, status: UpdateStatus, changed_at: Timestamp) -> UpdateReport {
    UpdateReport {
        action_id: 41,
        device_id: id(name),
        status,
        subject: Some("firmware:2.1".to_owned()),
        changed_at,
    }
}

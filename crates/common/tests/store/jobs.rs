use std::time::Duration;

use common::domain::{Actor, Clock, DeviceRegistry, JobAction, JobCount, JobQueue, JobState, RegistryError, System};
use uuid::Uuid;

use super::databases::TestDatabase;
use super::fleet::{Fleet, LEASE, application, id, issued};

pub(crate) async fn an_order_is_claimed_by_one_worker_until_its_lease_ends<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    fleet.enroll("pump-8").await;

    let claimed = fleet.store.claim(System::Vpn, 10, LEASE).await.unwrap();
    assert_eq!(claimed.len(), 2);
    assert!(
        claimed
            .iter()
            .all(|job| job.action == JobAction::Ensure && job.attempts == 1 && job.generation == 1)
    );
    assert_eq!(fleet.store.claim(System::Vpn, 10, LEASE).await.unwrap(), []);

    fleet.store.complete(&claimed[..1]).await.unwrap();
    fleet.clock.advance(LEASE);
    let left = fleet.store.claim(System::Vpn, 10, LEASE).await.unwrap();
    assert_eq!((left.len(), left[0].id, left[0].attempts), (1, claimed[1].id, 2));
    fleet.end().await;
}

pub(crate) async fn orders_that_are_ended_together_end_each_by_itself<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    for name in ["pump-7", "pump-8", "pump-9"] {
        fleet.enroll(name).await;
    }
    let claimed = fleet.store.claim(System::Vpn, 10, LEASE).await.unwrap();
    fleet.retire("pump-8").await.unwrap();

    fleet.store.complete(&claimed).await.unwrap();

    let left = fleet.store.claim(System::Vpn, 10, LEASE).await.unwrap();
    assert_eq!((left.len(), left[0].device_id.as_str()), (1, "pump-8"));
    assert_eq!((left[0].action, left[0].attempts), (JobAction::Remove, 1));
    fleet.store.complete(&[]).await.unwrap();
    fleet.end().await;
}

pub(crate) async fn a_newer_order_takes_the_older_ones_place<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    let old = fleet.claim_vpn().await.unwrap();
    fleet.retire("pump-7").await.unwrap();

    // The worker of the old order is still at work: nobody begins the new one beside it.
    assert_eq!(fleet.claim_vpn().await, None);
    fleet.store.complete(std::slice::from_ref(&old)).await.unwrap();

    let new = fleet.claim_vpn().await.unwrap();
    assert_eq!((new.action, new.generation), (JobAction::Remove, 2));
    // The old order's worker woke up too late to end the new one's lease.
    fleet.store.postpone(&old, "timed out", None).await.unwrap();
    assert_eq!(fleet.claim_vpn().await, None);
    fleet.store.complete(&[new]).await.unwrap();
    assert!(fleet.jobs().await.iter().all(|job| job.system != System::Vpn));
    fleet.end().await;
}

pub(crate) async fn a_failed_try_comes_back_later_and_a_dead_one_when_a_person_says_so<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    let job = fleet.claim_vpn().await.unwrap();
    let later = fleet.clock.now() + Duration::from_secs(30);
    fleet.store.postpone(&job, "did not answer", Some(later)).await.unwrap();
    assert_eq!(fleet.claim_vpn().await, None);

    fleet.clock.advance(Duration::from_secs(30));
    let job = fleet.claim_vpn().await.unwrap();
    assert_eq!((job.attempts, job.last_error.as_deref()), (2, Some("did not answer")));
    fleet.store.postpone(&job, "gave up", None).await.unwrap();
    fleet.clock.advance(Duration::from_hours(100));
    assert_eq!(fleet.claim_vpn().await, None);
    assert_eq!(fleet.store.jobs(Some(JobState::Dead)).await.unwrap()[0].id, job.id);

    fleet.store.retry(job.id, &Actor::Console).await.unwrap();
    let again = fleet.claim_vpn().await.unwrap();
    assert_eq!((again.id, again.attempts), (job.id, 1));
    assert_eq!(again.created_at, fleet.clock.now(), "it has all its time again");
    assert_eq!(fleet.last_detail().await["job"], job.id.to_string());
    let nothing = fleet.store.retry(Uuid::now_v7(), &Actor::Console).await;
    assert!(matches!(nothing, Err(RegistryError::Unknown)), "{nothing:?}");
    fleet.end().await;
}

pub(crate) async fn an_enrollment_that_stopped_half_way_is_ordered_once<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let token = fleet.token(1).await;
    let admission = fleet.apply("pump-7", &token, &application()).await.unwrap();
    let begun = fleet.clock.now();
    assert_eq!(fleet.store.resume_enrollments(begun).await.unwrap(), 0);

    fleet.clock.advance(Duration::from_mins(1));
    assert_eq!(fleet.store.resume_enrollments(fleet.clock.now()).await.unwrap(), 1);
    assert_eq!(fleet.store.resume_enrollments(fleet.clock.now()).await.unwrap(), 0);
    let ordered = fleet.store.jobs_of(&id("pump-7")).await.unwrap();
    assert_eq!(
        ordered.iter().map(|job| job.system).collect::<Vec<_>>(),
        [System::CertificateAuthority]
    );
    let count = JobCount {
        system: System::CertificateAuthority,
        state: JobState::Pending,
        count: 1,
        oldest: fleet.clock.now(),
    };
    assert_eq!(fleet.store.count_jobs().await.unwrap(), [count]);

    fleet.store.complete(&ordered).await.unwrap();
    let issued = issued(fleet.clock.now());
    let registry = &fleet.store;
    registry.record_certificate(&admission.intent, &issued).await.unwrap();
    assert_eq!(fleet.store.resume_enrollments(fleet.clock.now()).await.unwrap(), 1);
    let ordered = fleet.store.jobs_of(&id("pump-7")).await.unwrap();
    assert_eq!(ordered.iter().map(|job| job.system).collect::<Vec<_>>(), [System::Vpn]);
    fleet.end().await;
}

pub(crate) async fn a_worker_gets_the_orders_of_its_system_oldest_first<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    for name in ["pump-9", "pump-8", "pump-7"] {
        fleet.enroll(name).await;
        fleet.clock.advance(Duration::from_secs(1));
    }

    assert_eq!(fleet.store.claim(System::UpdateServer, 10, LEASE).await.unwrap(), []);
    let claimed = fleet.store.claim(System::DevicePlatform, 2, LEASE).await.unwrap();

    let found: Vec<_> = claimed.iter().map(|job| (job.system, job.device_id.as_str())).collect();
    let expected = ["pump-9", "pump-8"].map(|name| (System::DevicePlatform, name));
    assert_eq!(found, expected);
    fleet.end().await;
}

pub(crate) async fn what_a_dead_process_had_taken_is_due_again_at_its_next_start<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    let lost = fleet.claim_vpn().await.unwrap();

    let taken_back = fleet.store.take_back().await.unwrap();
    let found = fleet.claim_vpn().await.unwrap();

    assert_eq!(taken_back, 1);
    assert_eq!((found.id, found.attempts), (lost.id, 2));
    fleet.end().await;
}

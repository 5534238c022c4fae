use std::time::Duration;

use common::domain::{
    Application, CertificateState, Clock as _, DeviceDirectory, DeviceFilter, DeviceId, DevicePage,
    DeviceRegistry as _, DeviceState, GroupName, LiveFacts, NetworkMember, WireguardPrivateKey,
};

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::databases::TestDatabase;
use super::fleet::{Fleet, application, id};

pub(crate) async fn a_device_is_found_as_it_was_admitted<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let admission = fleet.admit("pump-7").await;

    assert_eq!(fleet.find("pump-7").await, Some(admission.device.clone()));
    let view = fleet.view("pump-7").await;
    assert_eq!((view.device, view.live), (admission.device, None));
    assert_eq!(view.certificate.unwrap().state, CertificateState::Intended);

    assert_eq!(fleet.find("nobody").await, None);
    assert_eq!(fleet.store.view(&id("nobody")).await.unwrap(), None);
    fleet.end().await;
}

pub(crate) async fn devices_that_many_ask_for_at_once_are_each_found<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    for name in ["pump-1", "pump-2", "pump-3"] {
        fleet.admit(name).await;
    }
    let mut tasks = JoinSet::new();
    for index in 0..100 {
        let (store, wanted) = (fleet.store.clone(), id(&format!("pump-{}", index % 5)));
        tasks.spawn(async move {
            let found = store.find_with_others(&wanted);
            if index % 10 == 9 {
                // Callers who leave take nobody's answer with them.
                drop(timeout(Duration::from_micros(100), found).await);
                return;
            }
            let is_known = (1..=3).contains(&(index % 5));
            assert_eq!(found.await.unwrap().map(|device| device.id), is_known.then_some(wanted));
        });
    }

    tasks.join_all().await;

    assert_eq!(
        fleet.store.find_with_others(&id("pump-1")).await.unwrap(),
        fleet.find("pump-1").await
    );
    fleet.end().await;
}

pub(crate) async fn devices_are_listed_page_by_page<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    // In the order of bytes, whatever the language of the database is.
    let names = ["a-1", "a0", "aa", "b", "b-0"];
    for name in ["b", "a0", "b-0", "aa", "a-1"] {
        fleet.admit(name).await;
    }

    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let filter = DeviceFilter {
            limit: 2,
            after,
            ..DeviceFilter::default()
        };
        let page = fleet.store.list(&filter).await.unwrap();
        listed.extend(ids(&page));
        after = page.next;
        if after.is_none() {
            break;
        }
    }

    assert_eq!(listed, names.map(id));
    fleet.end().await;
}

pub(crate) async fn a_list_is_narrowed_by_group_and_state<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-1").await;
    fleet.admit("valve-1").await;
    let default = GroupName::default();
    let of_groups = async |names: &[GroupName]| {
        let groups = Some(names.iter().cloned().collect());
        list(
            &fleet,
            DeviceFilter {
                groups,
                ..DeviceFilter::default()
            },
        )
        .await
    };

    assert_eq!(of_groups(&[default, GroupName::parse("north").unwrap()]).await.len(), 2);
    assert_eq!(of_groups(&[GroupName::parse("defaul").unwrap()]).await, []);
    assert_eq!(of_groups(&[]).await, []);
    let enrolled = DeviceFilter {
        state: Some(DeviceState::Enrolled),
        ..DeviceFilter::default()
    };
    assert_eq!(list(&fleet, enrolled).await, [id("pump-1")]);
    fleet.end().await;
}

pub(crate) async fn a_list_is_narrowed_by_text_that_means_itself<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-1").await;
    let token = fleet.token(1).await;
    let named = Application {
        display_name: Some("100% Pure_Water".to_owned()),
        ..application()
    };
    fleet.apply("valve-1", &token, &named).await.unwrap();
    let with_text = async |text: &str| {
        let text = Some(text.to_owned());
        list(
            &fleet,
            DeviceFilter {
                text,
                ..DeviceFilter::default()
            },
        )
        .await
    };

    for text in ["valve", "VALVE", "100%", "pure_w", "%", "_"] {
        assert_eq!(with_text(text).await, [id("valve-1")], "{text}");
    }
    for text in ["1%P", "p_re", "!"] {
        assert_eq!(with_text(text).await, [], "{text}");
    }
    assert_eq!(with_text("-1").await.len(), 2);
    fleet.end().await;
}

pub(crate) async fn only_devices_with_a_certificate_belong_on_the_hub<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.admit("intended").await;
    fleet.enroll("enrolled").await;
    fleet.enroll("retired").await;
    fleet.retire("retired").await.unwrap();
    fleet.enroll("quarantined").await;
    fleet.quarantine("quarantined").await.unwrap();

    let members = fleet.store.vpn_members().await.unwrap();

    let device = fleet.find("enrolled").await.unwrap();
    let expected = NetworkMember {
        key: device.wireguard_key.unwrap(),
        address: device.address.unwrap(),
        device_id: device.id,
        endpoint: None,
    };
    assert_eq!(members, [expected]);
    assert_eq!(fleet.store.count_vpn_members().await.unwrap(), 1);
    fleet.end().await;
}

pub(crate) async fn the_hub_is_told_where_a_member_was_last_seen<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let device = fleet.enroll("pump-7").await;
    let facts = LiveFacts {
        device_id: device.id,
        key: device.wireguard_key.unwrap(),
        last_handshake_at: Some(fleet.clock.now()),
        endpoint: Some("198.51.100.7:4711".to_owned()),
        received_bytes: 1,
        sent_bytes: 2,
    };

    fleet.store.record_live(&[facts]).await.unwrap();

    let members = fleet.store.vpn_members().await.unwrap();
    assert_eq!(members[0].endpoint, Some("198.51.100.7:4711".parse().unwrap()));
    fleet.end().await;
}

pub(crate) async fn every_key_that_a_device_had_is_known<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let first = fleet.enroll("pump-7").await.wireguard_key.unwrap();
    let second = WireguardPrivateKey::generate().public_key();
    fleet.clock.advance(Duration::from_secs(1));
    fleet.allow("pump-7").await.unwrap();
    fleet.store.replace_wireguard_key(&id("pump-7"), second).await.unwrap();

    fleet.retire("pump-7").await.unwrap();

    assert_eq!(
        fleet.store.wireguard_keys(&id("pump-7")).await.unwrap(),
        [first, second]
    );
    fleet.end().await;
}

async fn list<D: TestDatabase>(fleet: &Fleet<D>, filter: DeviceFilter) -> Vec<DeviceId> {
    let page = fleet.store.list(&DeviceFilter { limit: 100, ..filter }).await.unwrap();
    ids(&page)
}

fn ids(page: &DevicePage) -> Vec<DeviceId> {
    page.views.iter().map(|view| view.device.id.clone()).collect()
}

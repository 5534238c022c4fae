use common::domain::{
    AddPrefixError, AdmitError, DeviceRegistry as _, InvalidVpnNetwork, NetworkPlan as _, PoolFill, VpnNetwork,
    WireguardPrivateKey,
};
use ipnet::Ipv4Net;

use super::databases::TestDatabase;
use super::fleet::{Fleet, admin, application, network};

const CONFIGURED: &str = "10.8.0.0/29";

pub(crate) async fn a_full_network_gets_a_prefix_and_goes_on<D: TestDatabase>() {
    let fleet = Fleet::<D>::with_network(CONFIGURED).await;
    for number in 0..5 {
        fleet.enroll(&format!("pump-{number}")).await;
    }
    let token = fleet.token(2).await;
    let full = fleet.apply("pump-5", &token, &application()).await;
    assert!(matches!(full, Err(AdmitError::AddressPoolExhausted)), "{full:?}");

    add(&fleet, "10.9.0.0/29").await.unwrap();
    add(&fleet, "10.9.0.0/29").await.unwrap();

    assert_eq!(fleet.store.further_prefixes().await.unwrap(), [prefix("10.9.0.0/29")]);
    let not_taken_up = fleet.apply("pump-5", &token, &application()).await;
    assert!(not_taken_up.is_err(), "{not_taken_up:?}");
    fleet.store.ensure_pool(&wider()).await.unwrap();
    let admission = fleet.apply("pump-5", &token, &application()).await.unwrap();
    assert_eq!(admission.device.address, Some("10.9.0.1".parse().unwrap()));
    let added = fleet
        .actions()
        .await
        .into_iter()
        .filter(|action| action == "network.prefix_added");
    assert_eq!(added.count(), 1);
    fleet.end().await;
}

pub(crate) async fn a_prefix_that_shares_addresses_is_refused<D: TestDatabase>() {
    let fleet = Fleet::<D>::with_network(CONFIGURED).await;
    add(&fleet, "10.9.0.0/29").await.unwrap();

    for text in ["10.8.0.0/24", "10.9.0.0/28", "10.9.0.4/30"] {
        let result = add(&fleet, text).await;
        assert!(
            matches!(result, Err(AddPrefixError::Invalid(InvalidVpnNetwork::Overlap))),
            "{text}: {result:?}"
        );
    }
    let public = add(&fleet, "8.8.8.0/24").await;
    assert!(
        matches!(public, Err(AddPrefixError::Invalid(InvalidVpnNetwork::Prefix))),
        "{public:?}"
    );
    assert_eq!(fleet.store.further_prefixes().await.unwrap().len(), 1);
    fleet.end().await;
}

pub(crate) async fn a_prefix_of_a_former_configuration_is_refused<D: TestDatabase>() {
    let fleet = Fleet::<D>::with_network(CONFIGURED).await;
    fleet.store.ensure_pool(&network("10.9.0.0/24")).await.unwrap();

    let result = add(&fleet, "10.9.0.0/29").await;

    assert!(
        matches!(result, Err(AddPrefixError::Invalid(InvalidVpnNetwork::Overlap))),
        "{result:?}"
    );
    fleet.end().await;
}

pub(crate) async fn addresses_that_are_not_free_are_counted<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-1").await;
    fleet.admit("pump-2").await;
    fleet.enroll("pump-3").await;
    fleet.retire("pump-3").await.unwrap();

    let fill = fleet.store.pool_fill().await.unwrap();

    assert_eq!(
        fill,
        PoolFill {
            in_use: 2,
            in_quarantine: 1
        }
    );
    fleet.end().await;
}

pub(crate) async fn the_first_hub_is_the_hub_until_a_person_says_otherwise<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let keys: Vec<_> = (0..2).map(|_| WireguardPrivateKey::generate().public_key()).collect();

    assert_eq!(fleet.store.find_hub().await.unwrap(), None);
    assert_eq!(fleet.store.hub_on_record(keys[0]).await.unwrap(), keys[0]);
    assert_eq!(fleet.store.hub_on_record(keys[1]).await.unwrap(), keys[0]);
    assert_eq!(fleet.store.find_hub().await.unwrap(), Some(keys[0]));
    fleet.store.replace_hub(keys[1], &admin()).await.unwrap();
    assert_eq!(fleet.store.hub_on_record(keys[0]).await.unwrap(), keys[1]);

    let actions = fleet.actions().await;
    assert_eq!(actions, ["network.hub_recorded", "network.hub_replaced"]);
    fleet.end().await;
}

async fn add<D: TestDatabase>(fleet: &Fleet<D>, text: &str) -> Result<(), AddPrefixError> {
    let by = admin();
    fleet.store.add_prefix(network(CONFIGURED), prefix(text), &by).await
}

fn wider() -> VpnNetwork {
    network(CONFIGURED).and(prefix("10.9.0.0/29")).unwrap()
}

fn prefix(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

use common::domain::{MetricsKeys, SealedMetricsKey};

use super::databases::TestDatabase;
use super::fleet::{Fleet, id};

pub(crate) async fn a_device_has_one_key_to_the_metrics_store<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    for name in ["pump-7", "pump-8"] {
        fleet.enroll(name).await;
    }
    let key = |reference: &str| SealedMetricsKey {
        reference: reference.to_owned(),
        sealed: reference.as_bytes().to_vec(),
    };
    let kept = async |name| fleet.store.metrics_key(&id(name)).await.unwrap();
    assert_eq!(kept("pump-7").await, None);

    for (name, reference) in [("pump-7", "first"), ("pump-8", "other"), ("pump-7", "second")] {
        fleet.store.keep_metrics_key(&id(name), &key(reference)).await.unwrap();
    }
    assert_eq!(kept("pump-7").await, Some(key("second")));

    for _ in 0..2 {
        fleet.store.forget_metrics_key(&id("pump-7")).await.unwrap();
    }
    assert_eq!((kept("pump-7").await, kept("pump-8").await), (None, Some(key("other"))));
    fleet.end().await;
}

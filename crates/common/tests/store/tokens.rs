use std::time::Duration;

use common::domain::{Clock, EnrollmentTokens, RegistryError};
use uuid::Uuid;

use super::databases::TestDatabase;
use super::fleet::{Fleet, admin};

pub(crate) async fn a_token_is_listed_with_its_counts_and_revoked_once<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.token(1).await;
    fleet.clock.advance(Duration::from_secs(1));
    fleet.token(500).await;
    let tokens = fleet.store.tokens().await.unwrap();
    assert_eq!(tokens.iter().map(|token| token.quota).collect::<Vec<_>>(), [500, 1]);
    assert_eq!(
        (tokens[0].used, tokens[0].refused, tokens[0].created_by.as_str()),
        (0, 0, "console")
    );
    let revoked_at = fleet.clock.now();

    fleet.store.revoke_token(tokens[0].id, &admin()).await.unwrap();
    fleet.clock.advance(Duration::from_secs(1));
    fleet.store.revoke_token(tokens[0].id, &admin()).await.unwrap();

    assert_eq!(fleet.store.tokens().await.unwrap()[0].revoked_at, Some(revoked_at));
    assert_eq!(
        fleet.actions().await,
        ["token.created", "token.created", "token.revoked"]
    );
    let nothing = fleet.store.revoke_token(Uuid::now_v7(), &admin()).await;
    assert!(matches!(nothing, Err(RegistryError::Unknown)), "{nothing:?}");
    fleet.end().await;
}

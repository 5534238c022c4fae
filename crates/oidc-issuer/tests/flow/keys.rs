use std::sync::Arc;
use std::time::Duration;

use common::chassis::token::{
    EndpointLocation, JwksCache, JwksSettings, RoleNames, TokenError, TokenRules, TokenVerifier,
};
use common::domain::{GroupName, Operator, Role};
use oidc_issuer::client::Tokens;
use reqwest::StatusCode;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::world::{PASSWORD, World};

#[tokio::test]
async fn what_a_login_yields_is_what_the_services_believe() {
    let world = World::start().await;
    let verifier = verifier(&world);

    let tokens = world.log_in("olga", PASSWORD).await.unwrap();

    let operator = verify(&verifier, &tokens).await.unwrap();
    assert_eq!(
        (operator.subject.as_str(), operator.username.as_str()),
        ("f3b1", "olga")
    );
    assert_eq!(operator.role, Role::Operator);
    assert_eq!(
        operator.groups.iter().map(GroupName::as_str).collect::<Vec<_>>(),
        ["demo"]
    );
    let id_token = verifier.verify(tokens.id_token.expose_secret()).await;
    assert!(matches!(id_token, Err(TokenError::Invalid(_))));
}

#[tokio::test]
async fn a_new_key_is_believed_at_once_and_a_retired_one_no_more() {
    let world = World::start().await;
    let keys = jwks_cache(&world);
    let verifier = verifier_with(&world, Arc::clone(&keys));
    let old = world.log_in("olga", PASSWORD).await.unwrap();
    assert!(verify(&verifier, &old).await.is_ok());
    world.clock.advance(JwksCache::ON_DEMAND_INTERVAL);

    world.issuer.rotate_keys();
    let new = world.log_in("olga", PASSWORD).await.unwrap();
    assert!(verify(&verifier, &new).await.is_ok());
    assert!(verify(&verifier, &old).await.is_ok());

    world.issuer.retire_old_keys();
    assert!(keys.refresh().await);
    assert!(verify(&verifier, &new).await.is_ok());
    assert_eq!(verify(&verifier, &old).await, Err(TokenError::Invalid("no such key")));
}

#[tokio::test]
async fn the_discovery_document_names_endpoints_that_exist() {
    let world = World::start().await;
    let base = world.issuer.url();

    let document: Value = world
        .get(format!("{base}/.well-known/openid-configuration").parse().unwrap())
        .await
        .json()
        .await
        .unwrap();

    assert_eq!(document["issuer"], json!(base.as_str()));
    assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
    let endpoint = |name: &str| document[name].as_str().unwrap().parse().unwrap();
    assert_eq!(world.get(endpoint("jwks_uri")).await.status(), StatusCode::OK);
    assert_eq!(
        world.get(endpoint("authorization_endpoint")).await.status(),
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        world.get(endpoint("token_endpoint")).await.status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(
        world.get(endpoint("end_session_endpoint")).await.status(),
        StatusCode::OK
    );
}

fn verifier(world: &World) -> TokenVerifier {
    verifier_with(world, jwks_cache(world))
}

fn verifier_with(world: &World, keys: Arc<JwksCache>) -> TokenVerifier {
    let rules = TokenRules {
        issuer: world.issuer.url().to_string(),
        audience: "terminal-proxy".to_owned(),
        authorized_parties: vec!["terminal-ui".to_owned()],
        roles: RoleNames::default(),
        max_lifetime: TokenRules::DEFAULT_MAX_LIFETIME,
        leeway: Duration::ZERO,
    };
    TokenVerifier::new(rules, keys, world.clock.clone()).unwrap()
}

fn jwks_cache(world: &World) -> Arc<JwksCache> {
    let settings = JwksSettings {
        location: EndpointLocation::Discovery {
            issuer: world.issuer.url().to_string(),
        },
        max_age: JwksSettings::DEFAULT_MAX_AGE,
    };
    Arc::new(JwksCache::new(settings, world.http.clone(), world.clock.clone()))
}

async fn verify(verifier: &TokenVerifier, tokens: &Tokens) -> Result<Operator, TokenError> {
    verifier.verify(tokens.access_token.expose_secret()).await
}

//! The client that both services use, against a server that it should not trust.

use common::chassis::http_client::{self, HttpClientOptions, ReadError, Trust};

use crate::support::Demo;

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let demo = Demo::start().await;
    let client = http_client::build(&HttpClientOptions::default()).unwrap();

    let answer = client
        .get(format!("http://{}/redirect", demo.address))
        .send()
        .await
        .unwrap();

    assert_eq!(answer.status(), 307);
}

#[tokio::test]
async fn a_body_is_read_up_to_its_limit() {
    let demo = Demo::start().await;
    let client = http_client::build(&HttpClientOptions::default()).unwrap();
    let url = format!("http://{}/health", demo.address);

    let whole = http_client::read_limited(client.get(&url).send().await.unwrap(), 1024).await;
    let cut = http_client::read_limited(client.get(&url).send().await.unwrap(), 8).await;

    assert!(whole.unwrap().starts_with(b"{"));
    assert!(matches!(cut, Err(ReadError::TooLarge(8))));
}

#[test]
fn authorities_that_are_not_pem_are_an_error() {
    let trust = Trust::Only(b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n".to_vec());

    assert!(
        http_client::build(&HttpClientOptions {
            trust,
            ..HttpClientOptions::default()
        })
        .is_err()
    );
}

//! The stand-ins of the tests, used by the real systems' own clients: what the bridge is tested against is what they
//! expect.

use fakes::influxdb::FakeInfluxDb;
use fakes::thingsboard::{Behaviour, FakeThingsBoard};
use rcgen::generate_simple_self_signed;

use crate::failure::{Failure, ensure};
use crate::real::clients::run;
use crate::stage::Stage;

pub(super) async fn play(stage: &Stage) -> Result<(), Failure> {
    let (thingsboard, influxdb) = (FakeThingsBoard::start().await, FakeInfluxDb::start().await);
    thingsboard.behaves(Behaviour::Good);
    influxdb.behaves(Behaviour::Good);
    stage
        .step(
            "ThingsBoard's client reads every answer of its stand-in",
            thingsboard_client(stage, &thingsboard),
        )
        .await?;
    stage
        .step(
            "InfluxDB's client reads every answer of its stand-in",
            influxdb_client(stage, &influxdb),
        )
        .await
}

async fn thingsboard_client(stage: &Stage, thingsboard: &FakeThingsBoard) -> Result<(), Failure> {
    let leaf = generate_simple_self_signed(vec!["from-python".to_owned()])?.cert.pem();
    let url = thingsboard.url().trim_end_matches('/');
    let who = [
        FakeThingsBoard::API_KEY,
        FakeThingsBoard::USER,
        FakeThingsBoard::PASSWORD,
    ];
    run(stage, "thingsboard.py", &[url, who[0], who[1], who[2], &leaf]).await?;
    ensure(thingsboard.names().is_empty(), "something is left")
}

async fn influxdb_client(stage: &Stage, influxdb: &FakeInfluxDb) -> Result<(), Failure> {
    let url = influxdb.url().trim_end_matches('/');
    let place = [FakeInfluxDb::ORGANIZATION, FakeInfluxDb::BUCKET];
    run(stage, "influxdb.py", &[url, FakeInfluxDb::TOKEN, place[0], place[1]]).await?;
    ensure(influxdb.descriptions().is_empty(), "something is left")
}

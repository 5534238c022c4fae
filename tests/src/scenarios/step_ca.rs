//! A device's identity from a genuine step-ca: got, refused, repeated, taken away, and got while the authority dies.

mod devices;

use std::collections::HashSet;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use self::devices::{Door, FieldDevice};
use crate::failure::{Failure, ensure};
use crate::real::bridge::Bridge;
use crate::real::step_ca::{StepCa, printed};
use crate::stage::{Stage, project};

/// How many devices enroll while the authority is restarted.
const CROWD: usize = 50;

pub(super) async fn play(stage: &Stage) -> Result<(), Failure> {
    let authority = stage
        .step("step-ca starts with a provisioner for devices", StepCa::start(stage))
        .await?;
    let bridge = stage
        .step(
            "the bridge pins its root and serves over TLS",
            Bridge::start(stage, &authority),
        )
        .await?;
    let mut world = World {
        door: Door::open(&bridge, &authority)?,
        authority,
        bridge,
    };
    stage
        .step("a device enrolls with the agent, and renews", world.agent_enrolls())
        .await?;
    stage
        .step("a device enrolls with curl, jq, openssl and wg", world.script_enrolls())
        .await?;
    stage
        .step("so does one with the ten lines of its page", world.ten_lines_enroll())
        .await?;
    stage
        .step("a CSR of the genuine `step` is accepted", world.step_csr())
        .await?;
    stage
        .step("the same request again gets the same bytes", world.replay())
        .await?;
    stage
        .step("a CSR that asks for more is refused", world.wrong_csr())
        .await?;
    stage
        .step(
            "a device renews, and its old certificate ends with the first use",
            world.renewal(),
        )
        .await?;
    stage
        .step("an EST client that is not ours enrolls and renews", world.est())
        .await?;
    stage
        .step("a decommissioned device is on the revocation list", world.revocation())
        .await?;
    stage
        .step(
            "while the authority is dead a device waits, then gets its certificate",
            world.outage(),
        )
        .await?;
    stage
        .step(
            "fifty devices enroll while the authority is restarted",
            world.restart_under_load(),
        )
        .await?;
    stage.step("everything that must hold does", world.fsck()).await
}

fn text(answer: &Value, field: &str) -> String {
    answer[field].as_str().unwrap_or_default().to_owned()
}

struct World {
    door: Door,
    authority: StepCa,
    bridge: Bridge,
}

impl World {
    async fn agent_enrolls(&self) -> Result<(), Failure> {
        use device::agent::Device;
        use device::enroll::{EnrollSettings, Patience, ServerTrust};

        let settings = EnrollSettings {
            url: self.bridge.devices().clone(),
            trust: ServerTrust::Roots(self.authority.root_pem()?),
            token: self.bridge.token("agent-1", 1).await?,
            device_type: None,
            device_name: None,
            patience: Patience::default(),
        };
        let device = Device::prepare(self.bridge.folder().join("agent-1"), Some("agent-1".parse()?)).await?;
        let enrolled = device.enroll(&settings).await?;
        ensure(
            enrolled.address().octets()[..2] == [10, 8],
            "an address of another network",
        )?;
        let before = enrolled.certificate_pem().to_owned();
        let renewed = enrolled.renew(self.bridge.devices().clone()).await?;
        ensure(renewed.certificate_pem() != before, "the same certificate")
    }

    async fn script_enrolls(&self) -> Result<(), Failure> {
        let token = self.bridge.token("script-1", 1).await?;
        let mut script = Command::new(project("deploy/device/enroll.sh"))
            .arg(self.bridge.devices().as_str())
            .arg("script-1")
            .arg(self.bridge.folder().join("script-1"))
            .arg(self.authority.root_file())
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut input) = script.stdin.take() {
            input.write_all(token.expose_secret().as_bytes()).await?;
        }
        ensure(script.wait().await?.success(), "the script failed")?;
        let config = fs::read_to_string(self.bridge.folder().join("script-1/wg0.conf"))?;
        ensure(config.contains("AllowedIPs = 10.8.0.1/32"), "no tunnel configuration")
    }

    /// What the device's page shows, as it stands there.
    async fn ten_lines_enroll(&self) -> Result<(), Failure> {
        let page = fs::read_to_string(project("deploy/device/README.md"))?;
        let lines = page.split("```sh\n").find(|block| block.starts_with("set -eu"));
        let lines = lines.and_then(|block| block.split("```").next()).unwrap_or_default();
        ensure(lines.lines().count() == 10, "not ten lines")?;
        let folder = self.bridge.folder().join("lines-1");
        fs::create_dir(&folder)?;
        fs::write(
            folder.join("token"),
            self.bridge.token("lines-1", 1).await?.expose_secret(),
        )?;
        fs::copy(self.authority.root_file(), folder.join("root.pem"))?;
        let mut shell = Command::new("sh");
        shell.args(["-c", lines]).current_dir(&folder).kill_on_drop(true);
        shell.env("id", "lines-1");
        shell.env("url", self.bridge.devices().as_str().trim_end_matches('/'));
        ensure(shell.status().await?.success(), "the lines failed")?;
        let key = fs::read_to_string(folder.join("wireguard.key"))?;
        let config = fs::read_to_string(folder.join("wg0.conf"))?;
        ensure(config.contains(&format!("PrivateKey = {key}")), "the tunnel has no key")
    }

    async fn step_csr(&self) -> Result<(), Failure> {
        let (csr, key) = (
            self.bridge.folder().join("step.csr"),
            self.bridge.folder().join("step.key"),
        );
        let files = [csr.to_str().unwrap_or_default(), key.to_str().unwrap_or_default()];
        let keys = [
            &["--kty", "EC", "--curve", "P-256"][..],
            &["--kty", "RSA", "--size", "2048"],
            &["--kty", "OKP"],
        ];
        for (number, kind) in keys.into_iter().enumerate() {
            let id = format!("step-{number}");
            let mut arguments = vec![
                "certificate",
                "create",
                "--csr",
                "--no-password",
                "--insecure",
                "--force",
            ];
            arguments.extend(kind);
            arguments.extend([&id, files[0], files[1]]);
            self.authority.step(&arguments).await?;
            let body = json!({ "csr": fs::read_to_string(&csr)? });
            let token = self.bridge.token(&id, 1).await?;
            let (status, answer) = self.door.enroll(&id, &token, &body).await?;
            ensure(
                status == StatusCode::CREATED,
                format_args!("{kind:?}: {status} {answer}"),
            )?;
        }
        Ok(())
    }

    async fn replay(&self) -> Result<(), Failure> {
        let (device, token) = (FieldDevice::new("replay-1")?, self.bridge.token("replay-1", 1).await?);
        let (first, before) = self.door.enroll(device.id(), &token, &device.request()).await?;
        let (second, after) = self.door.enroll(device.id(), &token, &device.request()).await?;
        ensure(
            (first, second) == (StatusCode::CREATED, StatusCode::OK),
            format_args!("{first}, {second}"),
        )?;
        let same = [
            "certificate",
            "certificate_chain",
            "ca_chain",
            "wireguard_config",
            "not_after",
        ];
        ensure(same.iter().all(|field| before[field] == after[field]), "another answer")
    }

    async fn wrong_csr(&self) -> Result<(), Failure> {
        let token = self.bridge.token("*", 10).await?;
        let stranger = FieldDevice::new("somebody-else")?.request();
        let (status, answer) = self.door.enroll("wrong-1", &token, &stranger).await?;
        ensure(
            status == StatusCode::UNPROCESSABLE_ENTITY && answer["code"] == "cn-mismatch",
            format_args!("{status} {answer}"),
        )?;
        let (csr, key) = (self.bridge.folder().join("ca.csr"), self.bridge.folder().join("ca.key"));
        let mut command = Command::new("openssl");
        command.args(["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=wrong-2"]);
        command.args(["-addext", "basicConstraints=critical,CA:TRUE", "-out"]);
        command.arg(&csr).arg("-keyout").arg(&key);
        printed(command).await?;
        let body = json!({ "csr": fs::read_to_string(&csr)? });
        let (status, answer) = self.door.enroll("wrong-2", &token, &body).await?;
        ensure(
            status == StatusCode::UNPROCESSABLE_ENTITY && answer["code"] == "ca-not-allowed",
            format_args!("{status} {answer}"),
        )
    }

    async fn renewal(&self) -> Result<(), Failure> {
        let (device, token) = (FieldDevice::new("renew-1")?, self.bridge.token("renew-1", 1).await?);
        let (_, enrolled) = self.door.enroll(device.id(), &token, &device.request()).await?;
        let old = text(&enrolled, "certificate_chain");
        let request = json!({ "csr": device.csr() });
        let renew = (Method::POST, "renew");
        let (status, renewed) = self
            .door
            .ask_as(&device, &old, renew.clone(), Some(request.clone()))
            .await?;
        ensure(status == StatusCode::CREATED, format_args!("{status} {renewed}"))?;
        let (status, again) = self.door.ask_as(&device, &old, renew, Some(request)).await?;
        ensure(
            status == StatusCode::OK && again["certificate"] == renewed["certificate"],
            format_args!("{status} {again}"),
        )?;
        let (new, check_in) = (text(&renewed, "certificate_chain"), (Method::POST, "checkin"));
        let (status, answer) = self.door.ask_as(&device, &new, check_in.clone(), None).await?;
        ensure(status == StatusCode::OK, format_args!("{status} {answer}"))?;
        let (status, answer) = self.door.ask_as(&device, &old, check_in, None).await?;
        ensure(status == StatusCode::UNAUTHORIZED, format_args!("{status} {answer}"))
    }

    async fn est(&self) -> Result<(), Failure> {
        let (device, token) = (FieldDevice::new("est-1")?, self.bridge.token("est-1", 1).await?);
        let file = |name: &str| self.bridge.folder().join(format!("est-{name}"));
        fs::write(file("csr"), device.csr())?;
        fs::write(file("key"), device.key_pem())?;
        let client = |operation: &str| {
            let mut command = self.authority.program("estclient");
            command.args([operation, "-server", self.door.authority(), "-explicit"]);
            command.arg(self.authority.root_file());
            command
        };
        let authorities = printed(client("cacerts")).await?;
        let root = self.authority.root_pem()?;
        ensure(authorities.trim().starts_with(root.trim()), "another root")?;
        printed(client("csrattrs")).await?;
        let mut enroll = client("enroll");
        enroll
            .args(["-user", device.id(), "-pass", token.expose_secret(), "-csr"])
            .arg(file("csr"));
        let leaf = printed(enroll).await?;
        // All that the client has is what it was told by EST.
        fs::write(file("leaf"), &leaf)?;
        fs::write(file("authorities"), &authorities)?;
        let mut verify = Command::new("openssl");
        verify.args(["verify", "-CAfile"]);
        verify.args([file("authorities"), file("leaf")]);
        printed(verify).await?;
        let mut reenroll = client("reenroll");
        reenroll.arg("-key").arg(file("key")).arg("-certs").arg(file("leaf"));
        let next = printed(reenroll).await?;
        let key = json!({ "public_key": device.request()["wg_public_key"] });
        let bring = (Method::PUT, "wireguard");
        let (status, answer) = self.door.ask_as(&device, &next, bring, Some(key)).await?;
        ensure(
            status == StatusCode::OK && text(&answer, "wireguard_config").contains("AllowedIPs = 10.8.0.1/32"),
            format_args!("{status} {answer}"),
        )
    }

    async fn revocation(&self) -> Result<(), Failure> {
        let device = FieldDevice::new("revoked-1")?;
        let token = self.bridge.token(device.id(), 1).await?;
        let (_, answer) = self.door.enroll(device.id(), &token, &device.request()).await?;
        let leaf = self.bridge.folder().join("revoked.pem");
        fs::write(&leaf, answer["certificate"].as_str().unwrap_or_default())?;
        self.verify(&leaf).await?;
        let (status, said) = self.bridge.ask(Method::DELETE, "devices/revoked-1", None).await?;
        let revoked = json!("revoked");
        ensure(
            status == StatusCode::OK && said["systems"]["certificate_authority"] == revoked,
            format_args!("{status} {said}"),
        )?;
        match self.verify(&leaf).await {
            Ok(()) => Err(Failure::new("openssl still accepts it")),
            Err(refusal) => ensure(refusal.to_string().contains("certificate revoked"), refusal),
        }
    }

    /// Checks a certificate against the revocation list, as a TLS server would.
    async fn verify(&self, leaf: &Path) -> Result<(), Failure> {
        let list = self.bridge.folder().join("crl.der");
        fs::write(&list, self.door.bytes("ca/crl").await?)?;
        let mut convert = Command::new("openssl");
        let pem = self.bridge.folder().join("crl.pem");
        convert
            .args(["crl", "-inform", "DER", "-in"])
            .arg(&list)
            .arg("-out")
            .arg(&pem);
        printed(convert).await?;
        let mut verify = Command::new("openssl");
        verify.args(["verify", "-crl_check", "-purpose", "sslclient", "-CAfile"]);
        verify
            .arg(self.authority.root_file())
            .arg("-untrusted")
            .arg(self.authority.intermediate_file());
        verify.arg("-CRLfile").arg(&pem).arg(leaf);
        printed(verify).await.map(drop)
    }

    async fn outage(&mut self) -> Result<(), Failure> {
        let (device, token) = (FieldDevice::new("patient-1")?, self.bridge.token("patient-1", 1).await?);
        self.authority.go_away().await?;
        let (status, answer) = self.door.enroll(device.id(), &token, &device.request()).await?;
        ensure(
            status == StatusCode::ACCEPTED && answer["waiting_for"] == "certificate_authority",
            format_args!("{status} {answer}"),
        )?;
        self.authority.come_back().await?;
        let (status, answer) = self.door.enroll(device.id(), &token, &device.request()).await?;
        ensure(status == StatusCode::OK, format_args!("{status} {answer}"))
    }

    async fn restart_under_load(&mut self) -> Result<(), Failure> {
        let token = self.bridge.token("crowd-*", CROWD.try_into()?).await?;
        let (mut crowd, waits) = (JoinSet::new(), Arc::new(Notify::new()));
        let come = |crowd: &mut JoinSet<_>, numbers: Range<usize>| {
            for number in numbers {
                let (door, token, waits) = (self.door.clone(), token.clone(), Arc::clone(&waits));
                crowd.spawn(async move {
                    let device = FieldDevice::new(&format!("crowd-{number}"))?;
                    device.enroll_patiently(&door, &token, &waits).await
                });
            }
        };
        come(&mut crowd, 0..CROWD / 2);
        // In the middle: one has its certificate, some are waiting for theirs, the others find nobody.
        let mut enrolled = vec![crowd.join_next().await.ok_or_else(|| Failure::new("nobody came"))???];
        self.authority.go_away().await?;
        come(&mut crowd, CROWD / 2..CROWD);
        timeout(Duration::from_secs(30), waits.notified()).await?;
        self.authority.come_back().await?;
        enrolled.extend(crowd.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?);
        let addresses: HashSet<_> = enrolled.into_iter().collect();
        ensure(addresses.len() == CROWD, format_args!("{} addresses", addresses.len()))
    }

    /// The hub and the database agree, and the database with itself.
    async fn fsck(&mut self) -> Result<(), Failure> {
        let no_jobs = async || {
            let (_, jobs) = self.bridge.ask(Method::GET, "jobs", None).await?;
            Ok::<_, Failure>(jobs["jobs"].as_array().is_some_and(Vec::is_empty))
        };
        let settled = async {
            let mut looks = interval(Duration::from_millis(200));
            while !no_jobs().await? {
                looks.tick().await;
            }
            Ok::<_, Failure>(())
        };
        timeout(Duration::from_secs(30), settled).await??;
        self.bridge.go_away().await?;
        let said = self.bridge.run(&["fsck"]).await?;
        ensure(said.trim() == "Everything that must hold does.", said)
    }
}

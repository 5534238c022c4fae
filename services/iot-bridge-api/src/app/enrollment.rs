//! How a device gets its identity and its place in the network.
//!
//! The order is the policy: no address for a bad CSR, no certificate without a recorded intent, no network without
//! a certificate. Every step may be repeated, so a device that lost the answer asks again and gets the same.

use std::sync::Arc;
use std::time::Duration;

use common::chassis::problem::error_chain;
use common::domain::{
    Admission, AdmitError, Application, CertificateIntent, Clock, Device, DeviceDirectory, DeviceId, DeviceRegistry,
    DeviceState, InvalidWireguardKey, IssuedCertificate, RegistryError, ServiceEntry, StoreError, System, Timestamp,
    WireguardKey, WireguardPrivateKey,
};

use super::csr::CsrRejection;
use super::network::NO_PLACE;
use super::observe::facts_of;
use super::refusals::{self, overtaken};
pub use super::refusals::{EnrollError, InvalidLabel};
use super::token_secret::TokenDigest;
use super::turns::{PATIENCE, Turns};
use super::{Authority, Network, Place};
use crate::kill_points::{KillPoint, reach};
use crate::ports::UpstreamError;

/// When a device that was told to wait should come back.
pub(super) const COME_BACK_AFTER: Duration = Duration::from_secs(5);

/// Whoever holds a token that is good for a device. It exists only checked, so nothing of a request is looked at for
/// anybody else.
#[derive(Debug, Clone)]
pub struct Applicant {
    id: DeviceId,
    token: TokenDigest,
}

/// What a device asks for; the CSR is still as it came.
#[derive(Debug, Clone)]
pub struct EnrollmentRequest {
    /// The certificate signing request, PEM.
    pub csr: String,
    /// The device's WireGuard public key, as far as it could be read; without one the bridge makes a pair.
    pub wireguard_key: Result<Option<WireguardKey>, InvalidWireguardKey>,
    /// What people see of it, as far as it may be shown to them.
    pub labels: Result<Labels, InvalidLabel>,
}

/// What people see of a device.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    /// What kind of device it says it is.
    pub device_type: Option<String>,
    /// What people call it.
    pub display_name: Option<String>,
}

/// How an enrollment went on.
#[derive(Debug)]
pub enum Outcome {
    /// Everything is done.
    Enrolled(Box<Enrolled>),
    /// All that is needed is on record; this system is away, and the same request again fetches the result.
    Waiting {
        /// Who is away.
        system: System,
        /// When to ask again.
        retry_after: Duration,
    },
}

/// What an enrolled device is told.
#[derive(Debug)]
pub struct Enrolled {
    /// Who it is.
    pub device_id: DeviceId,
    /// Its certificate and the chain up to the root.
    pub certificate: IssuedCertificate,
    /// Its place in the network.
    pub place: Place,
    /// The private key that the bridge made; it is nowhere else.
    pub private_key: Option<WireguardPrivateKey>,
    /// Whether it was told before.
    pub repeated: bool,
    /// Our time, for devices without a clock.
    pub server_time: Timestamp,
}

/// Enrolls devices.
pub struct Enrollment {
    registry: Arc<dyn DeviceRegistry>,
    directory: Arc<dyn DeviceDirectory>,
    authority: Arc<Authority>,
    network: Arc<Network>,
    clock: Arc<dyn Clock>,
    /// The systems that are told of an enrolled device later, by jobs.
    told_later: Vec<System>,
    turns: Turns,
}

/// What [`Enrollment`] is built from.
pub struct EnrollmentParts {
    /// Where devices are recorded.
    pub registry: Arc<dyn DeviceRegistry>,
    /// Where devices are read.
    pub directory: Arc<dyn DeviceDirectory>,
    /// Who signs.
    pub authority: Arc<Authority>,
    /// Where devices become members.
    pub network: Arc<Network>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The configured systems that are told of an enrolled device by jobs.
    pub told_later: Vec<System>,
}

impl Enrollment {
    /// Prepares enrollment.
    pub fn new(parts: EnrollmentParts) -> Self {
        let EnrollmentParts {
            registry,
            directory,
            authority,
            network,
            clock,
            told_later,
        } = parts;
        Self {
            registry,
            directory,
            authority,
            network,
            clock,
            told_later,
            turns: Turns::default(),
        }
    }

    /// Lets the holder of a token speak for a device. The token is not spent yet. A no is not recorded yet either: see
    /// [`Self::record_refused_token`].
    pub async fn authenticate(&self, id: &DeviceId, token: TokenDigest) -> Result<Applicant, AdmitError> {
        self.registry.check_token(token.as_digest(), Some(id)).await?;
        Ok(Applicant { id: id.clone(), token })
    }

    /// Records why a token opened nothing. Anybody can bring a wrong one, so the caller bounds how often.
    pub async fn record_refused_token(
        &self,
        id: Option<&DeviceId>,
        token: TokenDigest,
        refused: &AdmitError,
    ) -> Result<(), StoreError> {
        self.registry.record_refused_token(token.as_digest(), id, refused).await
    }

    /// Refuses the holder of a token a CSR that does not say for whom it is; counted and recorded like any other. The
    /// error is that of a token which is not good.
    pub async fn refuse(&self, token: TokenDigest, rejection: CsrRejection) -> Result<EnrollError, AdmitError> {
        let digest = token.as_digest();
        self.registry.check_token(digest, None).await?;
        self.registry.record_refusal(None, digest, rejection.code()).await?;
        Ok(rejection.into())
    }

    /// Takes a request as far as it could be read; one that could not be is counted at the token and recorded.
    pub async fn receive<T, E>(&self, applicant: &Applicant, read: Result<T, E>) -> Result<Result<T, E>, StoreError> {
        if read.is_err() {
            let Applicant { id, token } = applicant;
            let (id, token) = (Some(id), token.as_digest());
            self.registry.record_refusal(id, token, "request_unreadable").await?;
        }
        Ok(read)
    }

    /// Enrolls a device, or goes on where a former request for it stopped.
    pub async fn enroll(&self, applicant: &Applicant, request: EnrollmentRequest) -> Result<Outcome, EnrollError> {
        let Applicant { id, token } = applicant;
        let application = self.application(id, request).await;
        let (application, private_key) = self.recorded(applicant, application).await?;
        let Some(_turn) = self.turns.wait(id, PATIENCE).await else {
            return Ok(waiting(System::CertificateAuthority));
        };
        if private_key.is_some() {
            self.note_use(id).await?;
        }
        reach(KillPoint::K0).await;
        let admission = self.registry.admit(id, token.as_digest(), &application).await?;
        reach(KillPoint::K1).await;
        match self.complete(admission, private_key).await {
            Ok(enrolled) => Ok(Outcome::Enrolled(Box::new(enrolled))),
            Err(EnrollError::Upstream(UpstreamError::Unavailable { system, source })) => {
                let error = error_chain(source.as_ref());
                tracing::warn!(device.id = %id, error, "`{id}` waits for {}", system.as_str());
                Ok(waiting(system))
            }
            Err(error) => self.recorded(applicant, Err(error)).await,
        }
    }

    /// Counts a refusal at the token and records it. The registry has done so with its own.
    async fn recorded<T>(&self, applicant: &Applicant, decided: Result<T, EnrollError>) -> Result<T, EnrollError> {
        if let Some(reason) = decided.as_ref().err().and_then(refusals::reason) {
            self.registry
                .record_refusal(Some(&applicant.id), applicant.token.as_digest(), reason)
                .await?;
        }
        decided
    }

    /// Applies the rules to a request. What comes of it is what the registry is asked, and the pair that is made for a
    /// device without a key.
    async fn application(
        &self,
        id: &DeviceId,
        request: EnrollmentRequest,
    ) -> Result<(Application, Option<WireguardPrivateKey>), EnrollError> {
        let labels = request.labels?;
        let wireguard_key = request.wireguard_key?;
        let csr = self.authority.accept(id, &request.csr).await?;
        let (wireguard_key, private_key) = wireguard_key.map_or_else(make_pair, |key| (key, None));
        // Where no hub is on record yet, it is asked again before the device becomes a member.
        if self.network.is_hubs_own(wireguard_key).await? {
            return Err(EnrollError::WireguardKeyInvalid);
        }
        let application = Application {
            csr_der: csr.der,
            csr_digest: csr.digest,
            key_digest: csr.key_digest,
            wireguard_key,
            wireguard_key_is_ours: private_key.is_some(),
            device_type: labels.device_type,
            display_name: labels.display_name,
        };
        Ok((application, private_key))
    }

    /// Writes down whether a device has used the pair that it would get another one for: the observer is seconds late.
    /// While the hub is away there is nothing new to know, nor of a device that was seen before.
    async fn note_use(&self, id: &DeviceId) -> Result<(), StoreError> {
        let view = self.directory.view(id).await?;
        let unseen = view.filter(|view| view.live.as_ref().is_none_or(|live| live.last_handshake_at.is_none()));
        let Some(key) = unseen.and_then(|view| view.device.wireguard_key) else {
            return Ok(());
        };
        let members = self.network.members().await.unwrap_or_default();
        let mut used = members.iter().filter(|member| member.last_handshake_at.is_some());
        match used.find(|member| member.key == key) {
            Some(member) => self.registry.record_live(&[facts_of(id, member)]).await,
            None => Ok(()),
        }
    }

    async fn complete(
        &self,
        mut admission: Admission,
        private_key: Option<WireguardPrivateKey>,
    ) -> Result<Enrolled, EnrollError> {
        let ServiceEntry {
            certificate,
            is_as_admitted,
        } = match admission.issued.take() {
            Some(certificate) => ServiceEntry {
                certificate,
                is_as_admitted: false,
            },
            None => self.certify(&admission).await?,
        };
        // A signature can be slow, and the address another device's by now.
        if !is_as_admitted && !self.network.is_on_record(&admission.device, &*self.directory).await? {
            let current = self.directory.find(&admission.device.id).await?;
            return Err(overtaken(current.map(|device| device.state)).into());
        }
        let place = self.join(&admission.device).await?;
        Ok(Enrolled {
            device_id: admission.device.id,
            certificate,
            place,
            private_key,
            repeated: admission.repeated,
            server_time: self.clock.now(),
        })
    }

    /// Has the intent of an admission signed, and records the certificate before anyone sees it. A device that the hub
    /// can take in enters service in the same step: to become a member is all that it lacks then, and if the power goes
    /// before it does, the reconciler makes it one.
    async fn certify(&self, admission: &Admission) -> Result<ServiceEntry, EnrollError> {
        let Admission { device, intent, .. } = admission;
        let issued = self.authority.issue(intent).await.map_err(EnrollError::Upstream)?;
        let member = self.network.member(device).zip(self.network.hub_key().await.ok());
        let recorded = if member.is_some_and(|(member, hub_key)| member.key != hub_key) {
            self.registry
                .enter_service(admission, &issued, &self.told_later)
                .await?
        } else {
            ServiceEntry {
                certificate: self.registry.record_certificate(intent, &issued).await?,
                is_as_admitted: false,
            }
        };
        certified(intent, &recorded.certificate).await;
        Ok(recorded)
    }

    /// Has an intent signed, and records the certificate before anyone sees it.
    pub(super) async fn certificate(&self, intent: &CertificateIntent) -> Result<IssuedCertificate, EnrollError> {
        let issued = self.authority.issue(intent).await.map_err(EnrollError::Upstream)?;
        let recorded = self.registry.record_certificate(intent, &issued).await?;
        certified(intent, &recorded).await;
        Ok(recorded)
    }

    /// Makes a certified device a member of the network, and puts it into service unless it is.
    pub(super) async fn join(&self, device: &Device) -> Result<Place, EnrollError> {
        let member = self.network.member(device).ok_or(NO_PLACE)?;
        let hub_key = self.network.hub_key().await?;
        if hub_key == member.key {
            return Err(EnrollError::WireguardKeyInvalid);
        }
        self.network.ensure(device, &*self.directory).await?;
        reach(KillPoint::K6).await;
        match self.settle(device).await {
            Ok(()) => {}
            // The database is away, the device is not shut out: the peer stays, and the same request again goes on.
            Err(EnrollError::Admit(AdmitError::Store(error))) => return Err(error.into()),
            Err(error) => {
                // Someone shut the device out in between, or it enrolled anew: what was just added goes again.
                self.network.remove(&[member.key]).await?;
                return Err(error);
            }
        }
        reach(KillPoint::K7).await;
        Ok(self.network.place(member, hub_key))
    }

    /// Makes sure that a device which just became a member is in service with the same key, now that whoever shuts it
    /// out finds it on the hub.
    async fn settle(&self, device: &Device) -> Result<(), EnrollError> {
        let found = self.directory.find_with_others(&device.id).await?;
        let mut current = found.ok_or_else(|| overtaken(None))?;
        if current.state == DeviceState::Admitted {
            current = self.put_into_service(&device.id).await?;
        }
        if current.state != DeviceState::Enrolled || current.wireguard_key != device.wireguard_key {
            return Err(overtaken(Some(current.state)).into());
        }
        tracing::info!(device.id = %device.id, vpn.address = ?device.address, "Enrolled `{}`", device.id);
        Ok(())
    }

    async fn put_into_service(&self, id: &DeviceId) -> Result<Device, EnrollError> {
        let marked = self.registry.mark_enrolled(id, &self.told_later).await;
        marked.map_err(|error| match error {
            RegistryError::WrongState(state) => overtaken(Some(state)).into(),
            RegistryError::Unknown => overtaken(None).into(),
            RegistryError::Store(error) => error.into(),
        })
    }
}

impl std::fmt::Debug for Enrollment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Enrollment")
            .field("told_later", &self.told_later)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for EnrollmentParts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("EnrollmentParts")
    }
}

async fn certified(intent: &CertificateIntent, recorded: &IssuedCertificate) {
    reach(KillPoint::K5).await;
    tracing::info!(device.id = %intent.device_id, certificate.serial = recorded.serial, "Certified `{}`", intent.device_id);
}

fn make_pair() -> (WireguardKey, Option<WireguardPrivateKey>) {
    let private_key = WireguardPrivateKey::generate();
    (private_key.public_key(), Some(private_key))
}

fn waiting(system: System) -> Outcome {
    Outcome::Waiting {
        system,
        retry_after: COME_BACK_AFTER,
    }
}

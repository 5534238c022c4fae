use std::collections::HashMap;
use std::sync::Arc;

use common::domain::{DeviceId, SessionId};
use secrecy::ExposeSecret as _;

use super::Badge;
use super::live::Live;

/// The sessions that hold a seat, and how many of them each person and each device has.
#[derive(Default)]
pub(super) struct Seats {
    sessions: HashMap<SessionId, Box<Live>>,
    people: HashMap<String, Person>,
    devices: HashMap<DeviceId, usize>,
}

struct Person {
    sessions: usize,
    /// What they showed when they opened the last of them.
    badge: Badge,
}

impl Seats {
    pub(super) fn count(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn count_of_person(&self, subject: &str) -> usize {
        self.people.get(subject).map_or(0, |person| person.sessions)
    }

    pub(super) fn count_of_device(&self, id: &DeviceId) -> usize {
        self.devices.get(id).copied().unwrap_or_default()
    }

    /// Sessions that were opened with one token keep it once.
    pub(super) fn keep_once(&self, subject: &str, badge: &Badge) -> Badge {
        let kept = self.people.get(subject).map(|person| &person.badge);
        let same = kept.filter(|kept| kept.expose_secret() == badge.expose_secret());
        Arc::clone(same.unwrap_or(badge))
    }

    pub(super) fn take(&mut self, id: SessionId, session: Live) {
        self.give_back(id);
        *self.devices.entry(session.device_id.clone()).or_default() += 1;
        let badge = Arc::clone(&session.badge);
        let person = self.people.entry(session.operator.subject.clone());
        let person = person.or_insert_with(|| Person {
            sessions: 0,
            badge: Arc::clone(&badge),
        });
        person.sessions += 1;
        person.badge = badge;
        self.sessions.insert(id, Box::new(session));
    }

    pub(super) fn give_back(&mut self, id: SessionId) {
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        if let Some(person) = self.people.get_mut(&session.operator.subject) {
            person.sessions -= 1;
            if person.sessions == 0 {
                self.people.remove(&session.operator.subject);
            }
        }
        if let Some(sessions) = self.devices.get_mut(&session.device_id) {
            *sessions -= 1;
            if *sessions == 0 {
                self.devices.remove(&session.device_id);
            }
        }
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Live> {
        self.sessions.get(&id).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Live> {
        self.sessions.get_mut(&id).map(Box::as_mut)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, &Live)> {
        self.sessions.iter().map(|(id, session)| (*id, session.as_ref()))
    }
}

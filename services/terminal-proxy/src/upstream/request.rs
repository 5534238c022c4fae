//! The request to ttyd, built from nothing: no header, path or query of a client ever gets here.

use std::fmt::Write as _;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::domain::{Digest, Operator, VpnAddress};

use super::TtydSettings;

/// ttyd 1.7.7 refuses a longer name.
const MAX_USER_NAME_BYTES: usize = 29;

/// Digits of the hash in a user name.
const HASH_DIGITS: usize = 10;

/// One handshake.
pub(super) struct HandshakeRequest {
    head: String,
    key: String,
}

impl HandshakeRequest {
    pub(super) fn new(address: VpnAddress, settings: &TtydSettings, operator: &Operator) -> Self {
        let key = fresh_key();
        let head = write_head(address, settings, operator, &key);
        Self { head, key }
    }

    pub(super) fn head(&self) -> &str {
        &self.head
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }
}

/// Without `tty` ttyd says nothing for ever; compression is not offered, so that no frame has to be opened;
/// `Origin` is the device's own, for a ttyd that runs with `-O`.
fn write_head(address: VpnAddress, settings: &TtydSettings, operator: &Operator, key: &str) -> String {
    let port = settings.port;
    let mut head = format!(
        "GET /ws HTTP/1.1\r\n\
         Host: {address}:{port}\r\n\
         Connection: Upgrade\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\n\
         Sec-WebSocket-Protocol: tty\r\n\
         Origin: http://{address}:{port}\r\n"
    );
    if let Some(header) = &settings.user_header {
        write!(head, "{header}: {}\r\n", device_user_name(operator)).expect("writing to a String does not fail");
    }
    head.push_str("\r\n");
    head
}

/// 16 random bytes (RFC 6455 §4.1).
fn fresh_key() -> String {
    let mut nonce = [0_u8; 16];
    rand::fill(&mut nonce).expect("the operating system gives randomness");
    STANDARD.encode(nonce)
}

/// The operator's name for a device's log: readable, at most 29 bytes, of characters that are safe in a
/// header and in a shell, always the same for one person, and never the same for two: behind as much of the
/// name as fits stands a hash of the issuer's stable name.
fn device_user_name(operator: &Operator) -> String {
    let readable = operator
        .username
        .chars()
        .filter(|char| char.is_ascii_alphanumeric() || "._-".contains(*char));
    let mut name: String = readable.take(MAX_USER_NAME_BYTES - HASH_DIGITS - 1).collect();
    let hash = Digest::of(operator.subject.as_bytes()).to_string();
    name.push('.');
    name.extend(hash.chars().take(HASH_DIGITS));
    name
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::domain::{Role, Timestamp, VpnNetwork};
    use http::HeaderName;

    use super::*;

    fn operator(subject: &str, username: &str) -> Operator {
        Operator {
            subject: subject.to_owned(),
            username: username.to_owned(),
            role: Role::Operator,
            groups: [].into(),
            expires_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_head_is_these_bytes_and_no_others() {
        let network = VpnNetwork::new("10.8.0.0/24".parse().unwrap(), None).unwrap();
        let address = network.device_address("10.8.0.7".parse().unwrap()).unwrap();
        let settings = TtydSettings {
            port: 7681,
            user_header: Some(HeaderName::from_static("x-remote-user")),
            connect_timeout: Duration::from_secs(5),
        };

        let head = write_head(
            address,
            &settings,
            &operator("4711", "alice\r\nCookie: x"),
            "dGhlIHNhbXBsZSBub25jZQ==",
        );

        assert_eq!(
            head,
            "GET /ws HTTP/1.1\r\nHost: 10.8.0.7:7681\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: tty\r\nOrigin: http://10.8.0.7:7681\r\n\
             x-remote-user: aliceCookiex.de650d61f5\r\n\r\n"
        );
    }

    #[test]
    fn a_name_fits_ttyd_and_belongs_to_one_person() {
        let long = "a.very.long.name.of.a.person@example.com";
        let names = [
            device_user_name(&operator("1", long)),
            device_user_name(&operator("2", long)),
            device_user_name(&operator("3", "Ünïcödé \u{202e}")),
            device_user_name(&operator("4", "")),
        ];

        for (index, name) in names.iter().enumerate() {
            assert!(name.len() <= MAX_USER_NAME_BYTES && name.is_ascii(), "{name}");
            assert!(!names[..index].contains(name), "{name}");
        }
        assert_eq!(names[0], device_user_name(&operator("1", long)));
        assert!(names[0].starts_with("a.very.long.name.o."), "{}", names[0]);
    }
}

-- Times are Unix milliseconds UTC, addresses are IPv4 as numbers, digests are SHA-256.

CREATE TABLE enrollment_token (
    id          TEXT    NOT NULL PRIMARY KEY,
    secret_hash BLOB    NOT NULL UNIQUE CHECK (length(secret_hash) = 32),
    purpose     TEXT    NOT NULL CHECK (purpose IN ('enroll', 'return')),
    id_pattern  TEXT    NOT NULL,
    group_name  TEXT    NOT NULL,
    quota       INTEGER NOT NULL CHECK (quota > 0),
    used        INTEGER NOT NULL DEFAULT 0 CHECK (used BETWEEN 0 AND quota),
    refused     INTEGER NOT NULL DEFAULT 0 CHECK (refused >= 0),
    expires_at  INTEGER NOT NULL,
    revoked_at  INTEGER,
    created_by  TEXT    NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE device (
    id                TEXT    NOT NULL PRIMARY KEY,
    state             TEXT    NOT NULL CHECK (state IN ('admitted', 'enrolled', 'quarantined', 'retired')),
    -- Where a device in quarantine goes when it is released.
    resume_state      TEXT    CHECK (resume_state IN ('admitted', 'enrolled')),
    group_name        TEXT    NOT NULL,
    device_type       TEXT,
    display_name      TEXT,
    epoch             INTEGER NOT NULL CHECK (epoch > 0),
    address           INTEGER,
    wireguard_key     BLOB,
    -- The current certificate, or the intent of one.
    certificate_id    TEXT    REFERENCES certificate (id),
    reenroll_until    INTEGER,
    created_at        INTEGER NOT NULL,
    enrolled_at       INTEGER,
    retired_at        INTEGER,
    last_connected_at INTEGER,
    CHECK ((state = 'quarantined') = (resume_state IS NOT NULL)),
    CHECK ((state = 'retired') = (retired_at IS NOT NULL)),
    CHECK (state <> 'retired' OR address IS NULL),
    CHECK (state <> 'enrolled' OR (address IS NOT NULL AND wireguard_key IS NOT NULL AND certificate_id IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX device_live_address ON device (address) WHERE address IS NOT NULL;

-- A certificate key belongs to one device for all time.
CREATE TABLE device_key (
    key_digest    BLOB    NOT NULL PRIMARY KEY CHECK (length(key_digest) = 32),
    device_id     TEXT    NOT NULL REFERENCES device (id),
    first_seen_at INTEGER NOT NULL
) STRICT;

-- So does a WireGuard key; a replaced one stays as a tombstone.
CREATE TABLE wireguard_key (
    public_key    BLOB    NOT NULL PRIMARY KEY CHECK (length(public_key) = 32),
    device_id     TEXT    NOT NULL REFERENCES device (id),
    -- Whether the bridge made the pair; such a one is made anew for a device that never used it.
    made_by_us    INTEGER NOT NULL CHECK (made_by_us IN (0, 1)),
    first_seen_at INTEGER NOT NULL,
    -- When the hub first saw a handshake with it; it stays.
    first_used_at INTEGER,
    replaced_at   INTEGER
) STRICT;

CREATE UNIQUE INDEX wireguard_key_current ON wireguard_key (device_id) WHERE replaced_at IS NULL;

-- A row is written before the authority is asked: it is the intent, and becomes the certificate.
CREATE TABLE certificate (
    id            TEXT    NOT NULL PRIMARY KEY,
    device_id     TEXT    NOT NULL REFERENCES device (id),
    token_id      TEXT    REFERENCES enrollment_token (id),
    state         TEXT    NOT NULL CHECK (state IN ('intended', 'pending', 'active', 'superseded', 'revoked')),
    csr_der       BLOB    NOT NULL,
    csr_digest    BLOB    NOT NULL CHECK (length(csr_digest) = 32),
    key_digest    BLOB    NOT NULL REFERENCES device_key (key_digest),
    serial        TEXT    UNIQUE,
    leaf_pem      TEXT,
    ca_chain_pem  TEXT,
    intermediates INTEGER,
    not_before    INTEGER,
    not_after     INTEGER,
    created_at    INTEGER NOT NULL,
    issued_at     INTEGER,
    revoked_at    INTEGER,
    CHECK ((serial IS NULL) = (issued_at IS NULL)),
    CHECK (serial IS NULL OR (leaf_pem IS NOT NULL AND ca_chain_pem IS NOT NULL AND intermediates IS NOT NULL
        AND not_before IS NOT NULL AND not_after IS NOT NULL)),
    CHECK (state <> 'intended' OR serial IS NULL),
    CHECK (state NOT IN ('pending', 'active', 'superseded') OR serial IS NOT NULL),
    CHECK ((state = 'revoked') = (revoked_at IS NOT NULL))
) STRICT;

CREATE INDEX certificate_device ON certificate (device_id);
CREATE INDEX certificate_token ON certificate (token_id);
CREATE UNIQUE INDEX certificate_active ON certificate (device_id) WHERE state = 'active';

-- From next_address upwards every address was never given out.
CREATE TABLE address_pool (
    network       TEXT    NOT NULL PRIMARY KEY,
    first_address INTEGER NOT NULL,
    last_address  INTEGER NOT NULL CHECK (last_address >= first_address),
    hub_address   INTEGER NOT NULL,
    next_address  INTEGER NOT NULL CHECK (next_address BETWEEN first_address AND last_address + 1)
) STRICT;

-- Addresses of decommissioned devices; given out again after free_at.
CREATE TABLE released_address (
    address   INTEGER NOT NULL PRIMARY KEY,
    device_id TEXT    NOT NULL REFERENCES device (id),
    free_at   INTEGER NOT NULL
) STRICT;

CREATE INDEX released_address_free ON released_address (free_at, address);

-- Standing orders: at most one for a device and a system.
CREATE TABLE job (
    id              TEXT    NOT NULL PRIMARY KEY,
    device_id       TEXT    NOT NULL REFERENCES device (id),
    system          TEXT    NOT NULL CHECK (system IN
        ('certificate_authority', 'vpn', 'device_platform', 'update_server', 'metrics_store')),
    action          TEXT    NOT NULL CHECK (action IN ('ensure', 'remove')),
    state           TEXT    NOT NULL CHECK (state IN ('pending', 'dead')),
    generation      INTEGER NOT NULL CHECK (generation > 0),
    attempts        INTEGER NOT NULL CHECK (attempts >= 0),
    created_at      INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    leased_until    INTEGER,
    last_error      TEXT,
    UNIQUE (device_id, system)
) STRICT;

CREATE INDEX job_due ON job (next_attempt_at) WHERE state = 'pending';

CREATE TABLE session (
    id               TEXT    NOT NULL PRIMARY KEY,
    device_id        TEXT    NOT NULL REFERENCES device (id),
    device_epoch     INTEGER NOT NULL,
    subject          TEXT    NOT NULL,
    username         TEXT    NOT NULL,
    instance         TEXT    NOT NULL,
    client_address   TEXT    NOT NULL,
    opened_at        INTEGER NOT NULL,
    closed_at        INTEGER,
    reason           TEXT,
    output_bytes     INTEGER NOT NULL DEFAULT 0,
    input_bytes      INTEGER NOT NULL DEFAULT 0,
    end_requested_at INTEGER,
    CHECK ((closed_at IS NULL) = (reason IS NULL))
) STRICT;

CREATE INDEX session_opened ON session (opened_at);
CREATE INDEX session_open_instance ON session (instance) WHERE closed_at IS NULL;
CREATE INDEX session_open_device ON session (device_id) WHERE closed_at IS NULL;

CREATE TABLE ticket (
    secret_hash BLOB    NOT NULL PRIMARY KEY CHECK (length(secret_hash) = 32),
    operator    TEXT    NOT NULL,
    device_id   TEXT    NOT NULL,
    origin      TEXT,
    expires_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX ticket_expiry ON ticket (expires_at);

-- One hash chain an instance; audit_head is its last link.
CREATE TABLE audit (
    instance      TEXT    NOT NULL,
    sequence      INTEGER NOT NULL CHECK (sequence > 0),
    recorded_at   INTEGER NOT NULL,
    actor         TEXT    NOT NULL,
    action        TEXT    NOT NULL,
    device_id     TEXT,
    detail        TEXT    NOT NULL,
    previous_hash BLOB    NOT NULL CHECK (length(previous_hash) = 32),
    hash          BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (instance, sequence)
) STRICT;

CREATE INDEX audit_time ON audit (recorded_at);
CREATE INDEX audit_device ON audit (device_id, recorded_at);

CREATE TABLE audit_head (
    instance TEXT    NOT NULL PRIMARY KEY,
    sequence INTEGER NOT NULL CHECK (sequence >= 0),
    hash     BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;

-- What the hub last saw.
CREATE TABLE device_live (
    device_id         TEXT    NOT NULL PRIMARY KEY REFERENCES device (id),
    online            INTEGER NOT NULL CHECK (online IN (0, 1)),
    last_handshake_at INTEGER,
    endpoint          TEXT,
    received_bytes    INTEGER NOT NULL,
    sent_bytes        INTEGER NOT NULL,
    recorded_at       INTEGER NOT NULL
) STRICT;

CREATE TABLE device_event (
    id          TEXT    NOT NULL PRIMARY KEY,
    device_id   TEXT    NOT NULL REFERENCES device (id),
    kind        TEXT    NOT NULL CHECK (kind IN ('connected', 'disconnected')),
    recorded_at INTEGER NOT NULL
) STRICT;

CREATE INDEX device_event_device ON device_event (device_id, recorded_at);

-- All that is shown of a device.
CREATE VIEW passport AS
SELECT
    device.id, device.state, device.resume_state, device.group_name, device.device_type, device.display_name,
    device.epoch, device.address, device.wireguard_key, device.reenroll_until, device.created_at,
    device.enrolled_at, device.retired_at, device.last_connected_at,
    device_live.device_id AS live_device_id, device_live.last_handshake_at, device_live.endpoint,
    device_live.received_bytes, device_live.sent_bytes,
    certificate.id AS certificate_id, certificate.device_id, certificate.state AS certificate_state,
    certificate.csr_der, certificate.key_digest, certificate.serial, certificate.leaf_pem,
    certificate.ca_chain_pem, certificate.intermediates, certificate.not_before, certificate.not_after,
    certificate.created_at AS certificate_created_at
FROM device
LEFT JOIN certificate ON certificate.id = device.certificate_id
LEFT JOIN device_live ON device_live.device_id = device.id;

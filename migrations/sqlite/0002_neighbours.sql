-- What the device platform said of devices, each delivery once. The name need not be a device of ours.
CREATE TABLE platform_event (
    digest      BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    device_id   TEXT    NOT NULL,
    kind        TEXT    NOT NULL CHECK (kind IN ('connected', 'disconnected', 'created', 'deleted')),
    happened_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL
) STRICT;

CREATE INDEX platform_event_received ON platform_event (received_at);

-- The steps of updates, by the update server's number and clock.
CREATE TABLE update_report (
    action_id   INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL,
    device_id   TEXT    NOT NULL REFERENCES device (id),
    status      TEXT    NOT NULL CHECK (status IN ('waiting', 'running', 'finished', 'failed', 'canceled')),
    subject     TEXT,
    told        INTEGER NOT NULL CHECK (told IN (0, 1)),
    recorded_at INTEGER NOT NULL,
    PRIMARY KEY (action_id, changed_at)
) STRICT;

CREATE INDEX update_report_device ON update_report (device_id, changed_at);

-- Up to which change everything is on record; one row.
CREATE TABLE update_cursor (
    id         INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    changed_at INTEGER NOT NULL
) STRICT;

-- What the last comparison of a system found.
CREATE TABLE drift (
    system TEXT NOT NULL,
    name   TEXT NOT NULL,
    kind   TEXT NOT NULL CHECK (kind IN
        ('missing', 'shut_out_present', 'foreign', 'wrong_credentials', 'wrong_metadata')),
    PRIMARY KEY (system, name, kind)
) STRICT;

CREATE TABLE comparison (
    system     TEXT    NOT NULL PRIMARY KEY,
    checked_at INTEGER NOT NULL
) STRICT;

-- What only one process does at a time.
CREATE TABLE lease (
    name   TEXT    NOT NULL PRIMARY KEY,
    holder TEXT    NOT NULL,
    until  INTEGER NOT NULL
) STRICT;

-- What the device platform said of devices, each delivery once. The name need not be a device of ours.
CREATE TABLE platform_event (
    digest      BYTEA   NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    device_id   TEXT COLLATE "C" NOT NULL,
    kind        TEXT COLLATE "C" NOT NULL CHECK (kind IN ('connected', 'disconnected', 'created', 'deleted')),
    happened_at BIGINT  NOT NULL,
    received_at BIGINT  NOT NULL
);

CREATE INDEX platform_event_received ON platform_event (received_at);

-- The steps of updates, by the update server's number and clock.
CREATE TABLE update_report (
    action_id   BIGINT  NOT NULL,
    changed_at  BIGINT  NOT NULL,
    device_id   TEXT COLLATE "C" NOT NULL REFERENCES device (id),
    status      TEXT COLLATE "C" NOT NULL CHECK (status IN ('waiting', 'running', 'finished', 'failed', 'canceled')),
    subject     TEXT,
    told        BIGINT  NOT NULL CHECK (told IN (0, 1)),
    recorded_at BIGINT  NOT NULL,
    PRIMARY KEY (action_id, changed_at)
);

CREATE INDEX update_report_device ON update_report (device_id, changed_at);

-- Up to which change everything is on record; one row.
CREATE TABLE update_cursor (
    id         BIGINT  NOT NULL PRIMARY KEY CHECK (id = 1),
    changed_at BIGINT  NOT NULL
);

-- What the last comparison of a system found.
CREATE TABLE drift (
    system TEXT COLLATE "C" NOT NULL,
    name   TEXT COLLATE "C" NOT NULL,
    kind   TEXT COLLATE "C" NOT NULL CHECK (kind IN
        ('missing', 'shut_out_present', 'foreign', 'wrong_credentials', 'wrong_metadata')),
    PRIMARY KEY (system, name, kind)
);

CREATE TABLE comparison (
    system     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    checked_at BIGINT  NOT NULL
);

-- What only one process does at a time.
CREATE TABLE lease (
    name   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    holder TEXT COLLATE "C" NOT NULL,
    until  BIGINT  NOT NULL
);

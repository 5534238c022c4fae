-- A device's key to the metrics store: what it is called there, and itself, sealed under a key that is not in here.
CREATE TABLE metrics_key (
    device_id  TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES device (id),
    reference  TEXT COLLATE "C" NOT NULL UNIQUE,
    sealed     BYTEA   NOT NULL,
    created_at BIGINT  NOT NULL
);

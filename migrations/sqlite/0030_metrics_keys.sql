-- A device's key to the metrics store: what it is called there, and itself, sealed under a key that is not in here.
CREATE TABLE metrics_key (
    device_id  TEXT    NOT NULL PRIMARY KEY REFERENCES device (id),
    reference  TEXT    NOT NULL UNIQUE,
    sealed     BLOB    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Prefixes that were added to the configured one while everything ran.
CREATE TABLE vpn_prefix (
    prefix   TEXT    NOT NULL PRIMARY KEY,
    added_by TEXT    NOT NULL,
    added_at INTEGER NOT NULL
) STRICT;

-- The hub that devices were told about; another one is never written to. One row.
CREATE TABLE vpn_hub (
    id          INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    public_key  BLOB    NOT NULL CHECK (length(public_key) = 32),
    recorded_at INTEGER NOT NULL
) STRICT;

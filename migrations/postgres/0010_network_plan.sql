-- Prefixes that were added to the configured one while everything ran.
CREATE TABLE vpn_prefix (
    prefix   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    added_by TEXT    NOT NULL,
    added_at BIGINT  NOT NULL
);

-- The hub that devices were told about; another one is never written to. One row.
CREATE TABLE vpn_hub (
    id          BIGINT  NOT NULL PRIMARY KEY CHECK (id = 1),
    public_key  BYTEA   NOT NULL CHECK (length(public_key) = 32),
    recorded_at BIGINT  NOT NULL
);

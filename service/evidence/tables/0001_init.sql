-- +goose Up
-- Acts of the house on their way into the log, and behind it. Times are milliseconds since 1970, UTC.
CREATE TABLE act (
    id          TEXT   PRIMARY KEY, -- of the record: <producer>-<message>
    producer    TEXT   NOT NULL,
    akey        TEXT   NOT NULL,    -- what the act is about
    type        TEXT   NOT NULL,    -- event type and version
    submission  TEXT   NOT NULL,    -- JSON, as the ledger takes it
    commitment  BYTEA  NOT NULL,    -- the submission's
    original    BYTEA  NOT NULL,    -- sealed: salt and data; empty where it was erased or never here
    accepted_at BIGINT NOT NULL,
    placed_at   BIGINT NOT NULL,    -- 0 while it waits to be ordered
    refused     TEXT   NOT NULL     -- why the ledger will not have it; empty otherwise
);
CREATE INDEX act_key ON act (producer, akey, id);
CREATE INDEX act_accepted ON act (accepted_at, id);
CREATE INDEX act_waiting ON act (accepted_at, id) WHERE placed_at = 0 AND refused = '';

-- The acts of records that are batches: what receipts of two levels are made from.
CREATE TABLE batch (
    id   TEXT  NOT NULL, -- of the record
    root BYTEA NOT NULL, -- the record's commitment
    acts BYTEA NOT NULL, -- commitments of 32 bytes, one after the other
    PRIMARY KEY (id, root)
);

-- Signed roots that are not the log's: what shows, with the note, that an agency did not hold to one history.
CREATE TABLE contradiction (
    name TEXT   NOT NULL,
    size BIGINT NOT NULL,
    root BYTEA  NOT NULL,
    note TEXT   NOT NULL, -- as it was signed
    at   BIGINT NOT NULL, -- when it was found
    PRIMARY KEY (name, size, root)
);

-- Checkpoints that were anchored outward, and what the other side answered.
CREATE TABLE anchoring (
    target  TEXT   NOT NULL, -- as it is configured
    size    BIGINT NOT NULL,
    root    BYTEA  NOT NULL,
    tried   BIGINT NOT NULL, -- how often
    at      BIGINT NOT NULL, -- of the last try
    done    BIGINT NOT NULL, -- 1 where it succeeded
    answer  TEXT   NOT NULL, -- of the other side, or why it failed
    PRIMARY KEY (target, size)
);
CREATE INDEX anchoring_at ON anchoring (at);

-- Since when this house witnesses other logs: from then on its witness has a memory. One row.
CREATE TABLE witnessing (
    id    BIGINT PRIMARY KEY, -- 1
    since BIGINT NOT NULL
);

-- What the log is called, for good. One row.
CREATE TABLE log_name (
    id     BIGINT PRIMARY KEY, -- 1
    origin TEXT   NOT NULL
);

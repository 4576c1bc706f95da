-- +goose Up
-- Acts of the house on their way into the log, and behind it. Times are milliseconds since 1970, UTC.
CREATE TABLE act (
    id          TEXT   PRIMARY KEY, -- of the record: <producer>-<message>
    producer    TEXT   NOT NULL,
    akey        TEXT   NOT NULL,    -- what the act is about
    type        TEXT   NOT NULL,    -- event type and version
    submission  TEXT   NOT NULL,    -- JSON, as the ledger takes it
    original    BYTEA  NOT NULL,    -- sealed: salt and data; empty where it was erased or never here
    accepted_at BIGINT NOT NULL,
    placed_at   BIGINT NOT NULL,    -- 0 while it waits to be ordered
    refused     TEXT   NOT NULL     -- why the ledger will not have it; empty otherwise
);
CREATE INDEX act_key ON act (producer, akey, id);
CREATE INDEX act_accepted ON act (accepted_at, id);
CREATE INDEX act_waiting ON act (id) WHERE placed_at = 0 AND refused = '';

-- What the log is called, for good. One row.
CREATE TABLE log_name (
    id     BIGINT PRIMARY KEY, -- 1
    origin TEXT   NOT NULL
);

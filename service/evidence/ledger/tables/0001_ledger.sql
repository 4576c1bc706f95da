-- +goose Up
-- What a ledger knows beside its log. One row of state.
CREATE TABLE ledger_state (
    id     BIGINT PRIMARY KEY, -- 1
    height BIGINT NOT NULL,
    hash   BYTEA  NOT NULL,
    facts  BYTEA  NOT NULL, -- running SM3 over all facts
    policy TEXT   NOT NULL  -- JSON, in force
);

-- Every policy that was in force.
CREATE TABLE ledger_policy (
    version BIGINT PRIMARY KEY,
    height  BIGINT NOT NULL, -- of the block that brought it
    at      BIGINT NOT NULL, -- milliseconds since 1970, UTC
    policy  TEXT   NOT NULL
);

-- Facts of records, by the key facts under which rules look them up.
CREATE TABLE ledger_fact (
    type   TEXT   NOT NULL,
    name   TEXT   NOT NULL, -- of the key fact
    fkey   BYTEA  NOT NULL,
    idx    BIGINT NOT NULL, -- of the record in the log
    failed BIGINT NOT NULL, -- 1 where the record's own rule failed
    facts  TEXT   NOT NULL, -- JSON
    PRIMARY KEY (idx, name)
);
CREATE INDEX ledger_fact_key ON ledger_fact (type, name, fkey, idx);

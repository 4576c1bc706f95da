-- +goose Up
-- What is in ledger_fact moves here at the next Open, and stays empty after.

-- Facts of records, packed: the number of their schema, whether the record's own rule failed, and the values by name.
CREATE TABLE ledger_facts (
    idx   INTEGER PRIMARY KEY, -- of the record in the log
    facts BLOB NOT NULL
);

-- By 32 bits of the SM3 of type, name and value of a key fact, which records that no rule has failed may have it.
CREATE TABLE ledger_key (
    hash BIGINT NOT NULL,
    idx  BIGINT NOT NULL,
    PRIMARY KEY (hash, idx)
) WITHOUT ROWID;

-- The schemas of all facts that are kept.
CREATE TABLE ledger_schema (
    number BIGINT PRIMARY KEY, -- from 1
    schema TEXT   NOT NULL     -- JSON
);

-- +goose Up
-- Entries by a key that is the row's own, so that no index stands beside them; ids are found by their hash. Those that were
-- there before stay as they are; the next Open puts their ids into log_id.
CREATE TABLE log_entry_2 (
    idx  INTEGER PRIMARY KEY, -- from 0, without gaps
    id   TEXT NOT NULL,       -- empty where data is packed, with the id in it
    data BLOB NOT NULL        -- of the leaf, as it is or packed
);
INSERT INTO log_entry_2 (idx, id, data) SELECT idx, id, data FROM log_entry ORDER BY idx;
DROP TABLE log_entry;
ALTER TABLE log_entry_2 RENAME TO log_entry;

-- By 32 bits of the SM3 of an id, which entries may have it.
CREATE TABLE log_id (
    hash BIGINT NOT NULL,
    idx  BIGINT NOT NULL,
    PRIMARY KEY (hash, idx)
) WITHOUT ROWID;

-- What many records have in common: a record in which all that differs is nought.
CREATE TABLE log_shape (
    shape  BIGINT PRIMARY KEY, -- from 1
    record TEXT   NOT NULL
);

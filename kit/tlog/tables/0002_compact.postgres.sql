-- +goose Up
-- Ids are found by their hash. Entries that were there before stay as they are; the next Open puts their ids into log_id.
ALTER TABLE log_entry DROP CONSTRAINT log_entry_id_key;

-- By 32 bits of the SM3 of an id, which entries may have it.
CREATE TABLE log_id (
    hash BIGINT NOT NULL,
    idx  BIGINT NOT NULL,
    PRIMARY KEY (hash, idx)
);

-- What many records have in common: a record in which all that differs is nought.
CREATE TABLE log_shape (
    shape  BIGINT PRIMARY KEY, -- from 1
    record TEXT   NOT NULL
);

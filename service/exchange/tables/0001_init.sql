-- +goose Up
-- Times are milliseconds since 1970, UTC; days are Beijing's, 2006-01-02.
CREATE TABLE feed (
    name      TEXT   NOT NULL,
    version   BIGINT NOT NULL,
    sm3       BYTEA  NOT NULL,
    source    TEXT   NOT NULL, -- YAML; transfers are delivered by the version they were accepted under
    loaded_at BIGINT NOT NULL,
    PRIMARY KEY (name, version)
);

-- One file of a sender, one page of a table, or one correction.
CREATE TABLE transfer (
    id          TEXT   PRIMARY KEY,
    feed        TEXT   NOT NULL,
    version     BIGINT NOT NULL,
    kind        TEXT   NOT NULL, -- file, page, correction
    name        TEXT   NOT NULL, -- of a file: the manifest's id
    day         TEXT   NOT NULL,
    status      TEXT   NOT NULL, -- receiving, accepted, refused
    reason      TEXT   NOT NULL, -- JSON of the problem, of a refused one
    manifest    TEXT   NOT NULL,
    state       TEXT   NOT NULL, -- JSON: where to go on
    good        BIGINT NOT NULL, -- records in chunks
    bad         BIGINT NOT NULL, -- records in quarantine
    chunks      BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    ended_at    BIGINT NOT NULL, -- 0 until then
    UNIQUE (feed, kind, name)
);
CREATE INDEX transfer_day ON transfer (feed, day, id);
CREATE INDEX transfer_status ON transfer (status, id);

CREATE TABLE chunk (
    transfer TEXT   NOT NULL,
    n        BIGINT NOT NULL, -- from 0
    records  BIGINT NOT NULL,
    body     BYTEA  NOT NULL, -- sealed; see chunk.go
    PRIMARY KEY (transfer, n)
);

-- How far a target has got with a transfer.
CREATE TABLE delivery (
    feed        TEXT   NOT NULL,
    target      TEXT   NOT NULL,
    transfer    TEXT   NOT NULL,
    next_chunk  BIGINT NOT NULL,
    chunks      BIGINT NOT NULL,
    status      TEXT   NOT NULL, -- pending, done
    attempts    BIGINT NOT NULL, -- in vain, since the last success
    due_at      BIGINT NOT NULL,
    reason      TEXT   NOT NULL, -- JSON of the last problem
    delivered   BIGINT NOT NULL, -- records
    quarantined BIGINT NOT NULL,
    ended_at    BIGINT NOT NULL,
    PRIMARY KEY (feed, target, transfer)
);
CREATE INDEX delivery_transfer ON delivery (transfer);
CREATE INDEX delivery_status ON delivery (status, feed, target, transfer);

-- What could not be taken, or not be written for a target.
CREATE TABLE quarantine (
    id          TEXT   PRIMARY KEY,
    feed        TEXT   NOT NULL,
    version     BIGINT NOT NULL,
    transfer    TEXT   NOT NULL,
    seq         BIGINT NOT NULL, -- record of the file, from 1
    target      TEXT   NOT NULL, -- empty: not even taken in
    byte_offset BIGINT NOT NULL, -- of the record in the file
    line        BIGINT NOT NULL,
    field       TEXT   NOT NULL,
    code        TEXT   NOT NULL,
    reason      TEXT   NOT NULL, -- JSON: zh, en
    raw         BYTEA  NOT NULL, -- sealed: the record as it came, or as it is here
    status      TEXT   NOT NULL, -- open, replayed, dismissed
    note        TEXT   NOT NULL, -- why it was dismissed
    closed_by   TEXT   NOT NULL,
    closed_at   BIGINT NOT NULL,
    correction  TEXT   NOT NULL, -- the transfer that replayed it
    created_at  BIGINT NOT NULL
);
CREATE INDEX quarantine_status ON quarantine (status, id);
CREATE INDEX quarantine_transfer ON quarantine (transfer, id);

-- How far a table of another system has been read.
CREATE TABLE source_cursor (
    feed  TEXT   PRIMARY KEY,
    value BIGINT NOT NULL,
    page  BIGINT NOT NULL -- read so far
);

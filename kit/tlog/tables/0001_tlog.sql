-- +goose Up
-- An append-only log over SM3. Times are milliseconds since 1970, UTC.
CREATE TABLE log_entry (
    idx  BIGINT PRIMARY KEY, -- from 0, without gaps
    id   TEXT   NOT NULL UNIQUE,
    data BYTEA  NOT NULL     -- of the leaf
);

-- The hashes of C2SP tiles, partial ones as they stand now.
CREATE TABLE log_tile (
    level  BIGINT NOT NULL,
    idx    BIGINT NOT NULL,
    hashes BYTEA  NOT NULL,
    PRIMARY KEY (level, idx)
);

-- What the log was after each append.
CREATE TABLE log_checkpoint (
    size BIGINT PRIMARY KEY,
    root BYTEA  NOT NULL,
    at   BIGINT NOT NULL
);

CREATE TABLE log_cosignature (
    name   TEXT   NOT NULL,
    size   BIGINT NOT NULL,
    key_id BYTEA  NOT NULL,
    time   BIGINT NOT NULL, -- seconds since 1970, as signed
    sig    BYTEA  NOT NULL, -- r and s, 64 bytes
    PRIMARY KEY (name, size)
);
CREATE INDEX log_cosignature_size ON log_cosignature (size, name);

-- +goose Up
-- Times are milliseconds since 1970, UTC.

-- What this voter must never forget of a lease.
CREATE TABLE lease (
    name   TEXT PRIMARY KEY,
    record BYTEA NOT NULL -- kit/lease.Record, with its checksum
);

-- Replicas that a person promoted though they may have lacked acknowledged records.
CREATE TABLE promotion (
    lease   TEXT   NOT NULL,
    epoch   BIGINT NOT NULL,
    replica TEXT   NOT NULL,
    reason  TEXT   NOT NULL,
    before  TEXT   NOT NULL, -- JSON of the register that this voter had until then
    at      BIGINT NOT NULL,
    PRIMARY KEY (lease, epoch)
);

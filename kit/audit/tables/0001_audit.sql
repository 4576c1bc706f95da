-- +goose Up
-- Beside the log's own tables: by what its leaves are found again. What they say is not believed when the log is checked.
CREATE TABLE audit_leaf (
    idx BIGINT PRIMARY KEY, -- in the log
    at  BIGINT NOT NULL     -- when it was written, milliseconds since 1970, UTC
);
CREATE INDEX audit_leaf_at ON audit_leaf (at, idx);

CREATE TABLE audit_who (
    who TEXT   NOT NULL,
    idx BIGINT NOT NULL,
    PRIMARY KEY (who, idx)
);

-- Up to where entries have expired, and the leaf that states it.
CREATE TABLE audit_expired (
    upto      BIGINT PRIMARY KEY,
    statement BIGINT NOT NULL
);

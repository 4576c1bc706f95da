-- +goose Up
-- Tokens by the SM3 hash of their secret. Times are milliseconds since 1970, UTC; expires_at 0 means never.
CREATE TABLE token (
    id         TEXT   PRIMARY KEY,
    hash       BYTEA  NOT NULL UNIQUE,
    principal  TEXT   NOT NULL, -- JSON
    one_time   BIGINT NOT NULL,
    note       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

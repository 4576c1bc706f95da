-- +goose Up
-- One row an answered request that carried an Idempotency-Key, written in the transaction of what it changed.
CREATE TABLE idempotency (
    principal  TEXT   NOT NULL,
    route      TEXT   NOT NULL,
    idem_key   TEXT   NOT NULL,
    body_sm3   BYTEA  NOT NULL,
    answer     TEXT   NOT NULL, -- JSON: status, header, body
    created_at BIGINT NOT NULL,
    PRIMARY KEY (principal, route, idem_key)
);
CREATE INDEX idempotency_created ON idempotency (created_at);

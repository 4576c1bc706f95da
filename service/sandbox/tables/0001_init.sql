-- +goose Up
-- One row for each request an agency has heard of. Until ready_at the answer is kept back: the request is pending.
CREATE TABLE request (
    agency     TEXT   NOT NULL,
    resource   TEXT   NOT NULL,
    request_id TEXT   NOT NULL,
    digest     TEXT   NOT NULL, -- SM3 of what was asked, without the callback; empty where the undo came first
    answer     TEXT   NOT NULL, -- JSON; empty where the undo came first
    ready_at   BIGINT NOT NULL,
    undone     BIGINT NOT NULL,
    callback   TEXT   NOT NULL, -- URL; may be empty
    copies     BIGINT NOT NULL, -- how often each callback is sent
    attempts   BIGINT NOT NULL,
    next_at    BIGINT NOT NULL, -- when the callback is due; 0 where none is owed
    PRIMARY KEY (agency, resource, request_id)
);
CREATE INDEX request_owed ON request (next_at) WHERE next_at > 0;

-- What really happened: +1 for each act, -1 for each undo.
CREATE TABLE effect (
    id         BIGINT PRIMARY KEY,
    agency     TEXT   NOT NULL,
    resource   TEXT   NOT NULL,
    request_id TEXT   NOT NULL,
    change     BIGINT NOT NULL,
    at         BIGINT NOT NULL
);
CREATE INDEX effect_request ON effect (agency, resource, request_id);

-- Requests that a fault of the scenario has struck. It strikes each once, or no retry would ever get through.
CREATE TABLE struck (
    agency     TEXT NOT NULL,
    resource   TEXT NOT NULL,
    request_id TEXT NOT NULL,
    op         TEXT NOT NULL,
    PRIMARY KEY (agency, resource, request_id, op)
);

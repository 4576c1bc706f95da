-- +goose Up
-- One row for each request a participant has answered: 'do' and 'undo' of the same request id. A 'do' row without an
-- answer was put there by an undo that came first: the request it stands for must never take effect.
CREATE TABLE saga_barrier (
    request_id TEXT   NOT NULL,
    op         TEXT   NOT NULL,
    answer     TEXT,
    at         BIGINT NOT NULL,
    PRIMARY KEY (request_id, op)
);

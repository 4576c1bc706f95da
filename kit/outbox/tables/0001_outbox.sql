-- +goose Up
-- The local message table. Times are milliseconds since 1970, UTC.
CREATE TABLE local_message (
    id         BIGINT PRIMARY KEY,
    event_type TEXT   NOT NULL,
    msg_key    TEXT   NOT NULL, -- messages of a key reach a consumer in the order of seq
    seq        BIGINT NOT NULL,
    act        BIGINT NOT NULL, -- 1 where the event is an act that evidence anchors
    version    BIGINT NOT NULL, -- of the payload's schema
    producer   TEXT   NOT NULL,
    grade      TEXT   NOT NULL,
    trace      TEXT   NOT NULL, -- W3C traceparent
    payload    TEXT   NOT NULL, -- JSON: {"idempotency_id": …, "data": …}
    created_at BIGINT NOT NULL,
    UNIQUE (msg_key, seq)
);
CREATE INDEX local_message_created ON local_message (created_at);

-- One row a message and consumer. status: 0 pending, 1 sent, 2 acknowledged, 3 dead letter.
CREATE TABLE local_delivery (
    message_id BIGINT NOT NULL,
    consumer   TEXT   NOT NULL,
    msg_key    TEXT   NOT NULL,
    seq        BIGINT NOT NULL,
    status     BIGINT NOT NULL,
    attempts   BIGINT NOT NULL,
    next_at    BIGINT NOT NULL,
    blocks     BIGINT NOT NULL, -- 1 where a dead letter holds back what follows of its key
    reason     TEXT   NOT NULL,
    PRIMARY KEY (message_id, consumer)
);
CREATE INDEX local_delivery_due ON local_delivery (next_at) WHERE status < 2;
CREATE INDEX local_delivery_open ON local_delivery (consumer, msg_key, seq) WHERE status <> 2;

-- Who is to get which event. Kept, so that a message written while a consumer is not running is delivered when it is.
CREATE TABLE local_consumer (
    event_type TEXT   NOT NULL,
    consumer   TEXT   NOT NULL,
    blocks     BIGINT NOT NULL,
    PRIMARY KEY (event_type, consumer)
);

-- What a consumer of this database has handled.
CREATE TABLE local_inbox (
    producer   TEXT   NOT NULL,
    message_id BIGINT NOT NULL,
    consumer   TEXT   NOT NULL,
    handled_at BIGINT NOT NULL,
    PRIMARY KEY (producer, message_id, consumer)
);
CREATE INDEX local_inbox_handled ON local_inbox (handled_at);

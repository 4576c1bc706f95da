-- +goose Up
-- All but payments, rooms and gates is a projection of the shards' logs, and can be made anew. Times are milliseconds
-- since 1970, UTC, unless they say otherwise; amounts are in fen.
CREATE TABLE progress (
    name TEXT   PRIMARY KEY, -- of who reads a log: rows/<shard>, acts/<shard>
    lsn  BIGINT NOT NULL     -- of the last record that is here
);

CREATE TABLE slot (
    id       TEXT   PRIMARY KEY,
    shard    BIGINT NOT NULL,
    place    BIGINT NOT NULL, -- in the shard
    spot     TEXT   NOT NULL,
    day      BIGINT NOT NULL, -- days since 1970 in Beijing
    start_at BIGINT NOT NULL,
    end_at   BIGINT NOT NULL,
    opens_at BIGINT NOT NULL,
    quotas   TEXT   NOT NULL, -- JSON, by channel
    status   TEXT   NOT NULL, -- open, closed, over
    note     TEXT   NOT NULL
);
CREATE INDEX slot_day ON slot (spot, day, start_at);
CREATE UNIQUE INDEX slot_place ON slot (shard, place);

CREATE TABLE booking (
    number     BIGINT PRIMARY KEY,
    slot       TEXT   NOT NULL,
    owner      TEXT   NOT NULL, -- principal
    req_key    TEXT   NOT NULL, -- idempotency key
    channel    BIGINT NOT NULL,
    product    BIGINT NOT NULL,
    places     BIGINT NOT NULL,
    status     BIGINT NOT NULL, -- as in package ledger
    until_at   BIGINT NOT NULL, -- of a hold
    amount     BIGINT NOT NULL, -- what it costs
    refund     BIGINT NOT NULL, -- what goes back
    entered    BIGINT NOT NULL,
    made_at    BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    visitors   BYTEA  NOT NULL  -- digests and sealed documents, as in a Booked event; empty when they were erased
);
CREATE INDEX booking_owner ON booking (owner, number);

-- What happened to a booking, and what evidence anchors of it.
CREATE TABLE act (
    booking BIGINT NOT NULL,
    lsn     BIGINT NOT NULL,
    kind    BIGINT NOT NULL,
    status  BIGINT NOT NULL,
    places  BIGINT NOT NULL,
    amount  BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    note    TEXT   NOT NULL,
    PRIMARY KEY (booking, lsn)
);

-- Acts that went to evidence under one record.
CREATE TABLE batch (
    shard  BIGINT NOT NULL,
    first  BIGINT NOT NULL, -- record of the log
    last   BIGINT NOT NULL,
    lsns   BYTEA  NOT NULL, -- of the acts, as differences
    PRIMARY KEY (shard, last)
);

CREATE TABLE queue (
    slot       TEXT   NOT NULL,
    entry      BIGINT NOT NULL,
    owner      TEXT   NOT NULL,
    places     BIGINT NOT NULL,
    status     TEXT   NOT NULL, -- waiting, served, left
    booking    BIGINT NOT NULL, -- that it led to; 0 where none
    at         BIGINT NOT NULL,
    PRIMARY KEY (slot, entry)
);
CREATE INDEX queue_owner ON queue (owner, at);

-- Payments, kept by package payment.
CREATE TABLE payment (
    number  TEXT   PRIMARY KEY,
    phase   TEXT   NOT NULL,
    next_at BIGINT NOT NULL, -- when something is to be done; 0: nothing is
    version BIGINT NOT NULL,
    data    TEXT   NOT NULL  -- JSON
);
CREATE INDEX payment_next ON payment (next_at) WHERE next_at > 0;

-- Bookings that were given up, until their payments are told.
CREATE TABLE given_up (
    booking BIGINT PRIMARY KEY,
    refund  BIGINT NOT NULL
);

-- Waiting rooms, one a sale.
CREATE TABLE room (
    sale     TEXT   PRIMARY KEY,
    spot     TEXT   NOT NULL,
    opens_at BIGINT NOT NULL,
    seed     BYTEA  NOT NULL, -- sealed
    record   TEXT   NOT NULL, -- what was published of the draw
    export   BYTEA  NOT NULL, -- the places, as package room writes them
    saved_at BIGINT NOT NULL
);

-- Bookings of a spot that were given up, in the order of the log: what its gates are told. A projection.
CREATE TABLE revocation (
    spot    TEXT   NOT NULL,
    n       BIGINT NOT NULL, -- from 1, without gaps
    booking BIGINT NOT NULL,
    PRIMARY KEY (spot, n)
);

-- Up to where the journals of gates were taken in.
CREATE TABLE gate_journal (
    gate     BIGINT NOT NULL,
    journal  TEXT   NOT NULL, -- hexadecimal: drawn by the gate where it began the journal
    sequence BIGINT NOT NULL, -- of the last entry
    checked  BYTEA  NOT NULL, -- its check
    at       BIGINT NOT NULL,
    PRIMARY KEY (gate, journal)
);

-- Entries of journals that the ledger did not take, or not all people of.
CREATE TABLE gate_double (
    n        BIGINT PRIMARY KEY, -- in the order they were found
    gate     BIGINT NOT NULL,
    journal  TEXT   NOT NULL,
    sequence BIGINT NOT NULL,
    booking  BIGINT NOT NULL,
    people   BIGINT NOT NULL, -- who entered
    over     BIGINT NOT NULL, -- how many of them were too many
    reason   TEXT   NOT NULL, -- all-in, revoked, missed, unknown
    at       BIGINT NOT NULL, -- by the gate's clock
    found_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX gate_double_entry ON gate_double (gate, journal, sequence);

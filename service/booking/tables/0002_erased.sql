-- +goose Up
ALTER TABLE slot ADD COLUMN erased BIGINT NOT NULL DEFAULT 0; -- 1: its bookings hold no documents any more
CREATE INDEX slot_filled ON slot (end_at) WHERE erased = 0;

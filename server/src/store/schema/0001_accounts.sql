-- Accounts, devices, tokens.

CREATE TABLE users (
    user_id       {BLOB} NOT NULL PRIMARY KEY,
    name          TEXT   NOT NULL UNIQUE,
    password_hash TEXT   NOT NULL,
    home_space    {BLOB} NOT NULL,
    created_ms    BIGINT NOT NULL
);

CREATE TABLE devices (
    device_id    {BLOB} NOT NULL PRIMARY KEY,
    user_id      {BLOB} NOT NULL REFERENCES users (user_id),
    name         TEXT   NOT NULL,
    token_hash   {BLOB} UNIQUE,
    enrolled_ms  BIGINT NOT NULL,
    last_seen_ms BIGINT,
    revoked_ms   BIGINT
);

CREATE INDEX devices_by_user ON devices (user_id);

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

-- How far a device says it has applied a space.
CREATE TABLE receipts (
    device_id {BLOB} NOT NULL REFERENCES devices (device_id),
    space_id  {BLOB} NOT NULL,
    epoch     {BLOB} NOT NULL,
    seq       BIGINT NOT NULL,
    hash      {BLOB} NOT NULL,
    time_ms   BIGINT NOT NULL,
    PRIMARY KEY (device_id, space_id)
) {NOROWID};

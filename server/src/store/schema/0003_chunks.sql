-- Packs, the index of chunks in them, and who reaches which chunk.

CREATE TABLE packs (
    pack_id    {BLOB} NOT NULL PRIMARY KEY,
    bytes      BIGINT NOT NULL,
    created_ms BIGINT NOT NULL
);

-- domain: empty for ordinary spaces, a sealed space's id for its own.
-- node_level, span_bytes: for a manifest node, the levels and the bytes of file below it.
CREATE TABLE chunks (
    domain        {BLOB} NOT NULL,
    chunk_id      {BLOB} NOT NULL,
    pack_id       {BLOB} NOT NULL REFERENCES packs (pack_id),
    pack_offset   BIGINT NOT NULL,
    stored_bytes  BIGINT NOT NULL,
    plain_bytes   BIGINT NOT NULL,
    header_bytes  BIGINT NOT NULL,
    node_level    BIGINT,
    span_bytes    BIGINT NOT NULL,
    PRIMARY KEY (domain, chunk_id)
) {NOROWID};

CREATE INDEX chunks_by_pack ON chunks (pack_id);

-- Which user may use a chunk without sending it, and until when that alone protects it.
CREATE TABLE reach (
    user_id  {BLOB} NOT NULL,
    domain   {BLOB} NOT NULL,
    chunk_id {BLOB} NOT NULL,
    lease_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, domain, chunk_id)
) {NOROWID};

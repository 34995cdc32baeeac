-- Spaces, journals, nodes, entries, versions, conflicts.
--
-- Rows of nodes, entries and conflicts are intervals: so since seq_from, until seq_to (excluded),
-- NULL is the present. Blobs hold MessagePack with named fields.

CREATE TABLE spaces (
    space_id   {BLOB} NOT NULL PRIMARY KEY,
    owner      {BLOB} NOT NULL,
    epoch      {BLOB} NOT NULL,
    seq        BIGINT NOT NULL,
    hash       {BLOB} NOT NULL,
    bytes_used BIGINT NOT NULL,
    bytes_max  BIGINT,
    created_ms BIGINT NOT NULL
);

CREATE INDEX spaces_by_owner ON spaces (owner);

-- One row for each committed change, hash = BLAKE3(hash before, seq, device, counter, digest).
CREATE TABLE journal (
    space   {BLOB} NOT NULL,
    seq     BIGINT NOT NULL,
    device  {BLOB} NOT NULL,
    counter BIGINT NOT NULL,
    time_ms BIGINT NOT NULL,
    digest  {BLOB} NOT NULL,
    hash    {BLOB} NOT NULL,
    PRIMARY KEY (space, seq)
) {NOROWID};

-- content_seq, content_device: which change brought the content, whatever changed the row since.
CREATE TABLE nodes (
    node           {BLOB} NOT NULL,
    space          {BLOB} NOT NULL,
    seq_from       BIGINT NOT NULL,
    seq_to         BIGINT,
    device         {BLOB} NOT NULL,
    content_seq    BIGINT NOT NULL,
    content_device {BLOB} NOT NULL,
    kind           BIGINT NOT NULL,
    size_bytes     BIGINT NOT NULL,
    version_id     {BLOB},
    state          {BLOB} NOT NULL,
    PRIMARY KEY (node, space, seq_from)
);

CREATE UNIQUE INDEX nodes_present ON nodes (node) WHERE seq_to IS NULL;

CREATE INDEX nodes_born ON nodes (space, seq_from);

CREATE INDEX nodes_gone ON nodes (space, seq_to) WHERE seq_to IS NOT NULL;

CREATE TABLE entries (
    space    {BLOB} NOT NULL,
    parent   {BLOB} NOT NULL,
    name     {BLOB} NOT NULL,
    seq_from BIGINT NOT NULL,
    seq_to   BIGINT,
    node     {BLOB} NOT NULL,
    device   {BLOB} NOT NULL,
    PRIMARY KEY (space, parent, name, seq_from)
);

CREATE UNIQUE INDEX entries_present ON entries (space, parent, name) WHERE seq_to IS NULL;

CREATE INDEX entries_by_node ON entries (node, seq_to);

CREATE INDEX entries_born ON entries (space, seq_from);

CREATE INDEX entries_gone ON entries (space, seq_to) WHERE seq_to IS NOT NULL;

CREATE TABLE aliases (
    node   {BLOB} NOT NULL PRIMARY KEY,
    space  {BLOB} NOT NULL,
    target {BLOB} NOT NULL,
    seq    BIGINT NOT NULL
);

CREATE INDEX aliases_born ON aliases (space, seq);

CREATE TABLE conflicts (
    conflict_id {BLOB} NOT NULL,
    space       {BLOB} NOT NULL,
    seq_from    BIGINT NOT NULL,
    seq_to      BIGINT,
    node        {BLOB} NOT NULL,
    device      {BLOB} NOT NULL,
    state       {BLOB} NOT NULL,
    PRIMARY KEY (conflict_id, seq_from)
);

CREATE INDEX conflicts_by_node ON conflicts (node) WHERE seq_to IS NULL;

CREATE INDEX conflicts_born ON conflicts (space, seq_from);

CREATE INDEX conflicts_gone ON conflicts (space, seq_to) WHERE seq_to IS NOT NULL;

-- Every content that was ever acknowledged, file holds content, vector and author.
CREATE TABLE versions (
    version_id {BLOB} NOT NULL PRIMARY KEY,
    space      {BLOB} NOT NULL,
    node       {BLOB} NOT NULL,
    seq        BIGINT NOT NULL,
    time_ms    BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    content_id {BLOB} NOT NULL,
    file       {BLOB} NOT NULL
);

CREATE INDEX versions_by_node ON versions (node, seq);

CREATE INDEX versions_by_space ON versions (space);

-- Operations that a device has had answered, and up to which it has applied the answers.
CREATE TABLE device_marks (
    device   {BLOB} NOT NULL,
    space    {BLOB} NOT NULL,
    highest  BIGINT NOT NULL,
    answered BIGINT NOT NULL,
    PRIMARY KEY (device, space)
) {NOROWID};

-- The settled answers of one push that its author may not have applied yet.
CREATE TABLE answers (
    device        {BLOB} NOT NULL,
    space         {BLOB} NOT NULL,
    counter_last  BIGINT NOT NULL,
    counter_first BIGINT NOT NULL,
    answers       {BLOB} NOT NULL,
    PRIMARY KEY (device, space, counter_last)
);

-- The histories of each space: where each began, and what was brought back of a lost one.

CREATE TABLE epochs (
    space {BLOB} NOT NULL,
    no BIGINT NOT NULL,
    epoch {BLOB} NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (space, no)
) {NOROWID};

INSERT INTO epochs (space, no, epoch, seq) SELECT space_id, 0, epoch, 0 FROM spaces;

-- Seqs of the present history that brought back what a lost one had.
CREATE TABLE recoveries (
    space {BLOB} NOT NULL,
    seq_first BIGINT NOT NULL,
    seq_last BIGINT NOT NULL,
    PRIMARY KEY (space, seq_first)
) {NOROWID};

-- Up to which seq of the lost history nodes and conflicts were brought back.
CREATE TABLE recovered (
    space {BLOB} NOT NULL,
    id {BLOB} NOT NULL,
    upto BIGINT NOT NULL,
    PRIMARY KEY (space, id)
) {NOROWID};

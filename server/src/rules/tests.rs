//! Tests of the rules: the table row by row, then random batches.

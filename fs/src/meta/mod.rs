//! Owns the local database: remote rows, local rows, queue, cursor, contents. One unit of work is one
//! transaction. Knows nothing of the kernel, the network or files' bytes.

pub mod ranges;
pub mod rows;

//! Owns the tests of the content store.

//! Whole watchers on real directories.

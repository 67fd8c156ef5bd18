//! What both runtimes share.

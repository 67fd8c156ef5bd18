//! The zabkeeper server.
fn main() {}

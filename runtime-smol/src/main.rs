//! The zabkeeper server.

mod connection;
mod server;
mod sockets;

use std::process::ExitCode;

use zabkeeper_std::program;

fn main() -> ExitCode {
    program::main::<server::Smol>()
}

//! The zabkeeper server.

mod alarm;
mod connection;
mod lingering;
mod news;
mod server;
mod sockets;

use std::process::ExitCode;

use zabkeeper_std::program;

fn main() -> ExitCode {
    program::main::<server::Smol>()
}

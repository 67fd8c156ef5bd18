//! The zabkeeper server, on smol.

mod connection;
mod deadline_timer;
mod event_queue;
mod lingering;
mod server;
mod sockets;

use std::process::ExitCode;

use zabkeeper_std::program;

fn main() -> ExitCode {
    program::main::<server::Smol>()
}

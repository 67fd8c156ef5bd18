//! The zabkeeper server.

mod connection;
mod dev;
mod server;
mod sockets;

use std::process::ExitCode;

use clap::Parser;
use zabkeeper_std::boot::Boot;
use zabkeeper_std::command_line::{Command, CommandLine, ServerArgs};
use zabkeeper_std::exit::{self, Failure};
use zabkeeper_std::system_properties::SystemProperties;
use zabkeeper_std::{inspect, logging, signals};

fn main() -> ExitCode {
    let line = CommandLine::parse();
    let done =
        logging::init(line.log_filter(), line.log_format).and_then(|()| match &line.command {
            Command::Server(args) if args.check => check(args).map(|()| exit::EXECUTION_FINISHED),
            Command::Server(args) => run_server(args).map(|()| exit::EXECUTION_FINISHED),
            Command::Dev(args) => dev::run(args).map(|()| exit::EXECUTION_FINISHED),
            Command::Inspect(args) => inspect::run(args),
        });
    let code = done.unwrap_or_else(|failure| {
        eprintln!("zabkeeper: {failure}");
        failure.code
    });
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Settings from outside of `zoo.cfg`.
fn properties(args: &ServerArgs) -> SystemProperties {
    SystemProperties::collect(|name| std::env::var(name).ok(), &args.define)
}

fn check(args: &ServerArgs) -> Result<(), Failure> {
    let (config, _, warnings) = Boot::read(&args.config, &properties(args))?;
    for warning in warnings {
        println!("{warning}");
    }
    match &config.ensemble {
        Some(ensemble) => {
            println!("server {} of an ensemble of {}", config.my_id, ensemble.members.len());
        }
        None => println!("a server alone"),
    }
    Ok(())
}

fn run_server(args: &ServerArgs) -> Result<(), Failure> {
    let boot = Boot::load(&args.config, &properties(args))?;
    let (inbox, inputs) = async_channel::unbounded();
    let stop = inbox.clone();
    signals::on_stop(move || drop(stop.try_send(server::Input::Stop)))
        .map_err(|e| Failure::new(exit::UNEXPECTED_ERROR, format!("signals: {e}")))?;
    tracing::info!(server = %boot.id(), config = %args.config.display(), "starting");
    let record = args.record.options();
    server::run(boot, record.as_ref(), (inbox, inputs), || tracing::info!("serving clients"))
}

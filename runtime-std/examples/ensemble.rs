//! An ensemble for tests of programs in other languages: reads commands from stdin, answers each
//! with one line on stdout. When stdin ends, it stops the servers and removes their files.
//!
//! ```text
//! $ cargo run -p zabkeeper-std --example ensemble -- 3
//! 127.0.0.1:41013,127.0.0.1:44417,127.0.0.1:37215
//! leader
//! 3
//! kill 3
//! ok
//! expire 0x1000045b8a50000
//! ok
//! ```

use std::io::{self, BufRead};
use std::process::ExitCode;

use zabkeeper_std::TestEnsemble;

fn main() -> ExitCode {
    let servers = std::env::args().nth(1).map_or(Ok(3), |number| number.parse());
    let Ok(servers) = servers else {
        eprintln!("usage: ensemble [SERVERS]");
        return ExitCode::from(2);
    };
    let ensemble = match TestEnsemble::start(servers) {
        Ok(ensemble) => ensemble,
        Err(e) => {
            eprintln!("ensemble: {e}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", ensemble.connect_string());
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match execute(&ensemble, &line) {
            Ok(answer) => println!("{answer}"),
            Err(e) => println!("error: {e}"),
        }
    }
    ExitCode::SUCCESS
}

fn execute(ensemble: &TestEnsemble, line: &str) -> Result<String, Box<dyn std::error::Error>> {
    let mut words = line.split_whitespace();
    let command = words.next().unwrap_or_default();
    let words: Vec<&str> = words.collect();
    let servers = || words.iter().map(|word| word.parse()).collect::<Result<Vec<usize>, _>>();
    match (command, &*words) {
        ("kill", [server]) => ensemble.kill(server.parse()?)?,
        ("stop", [server]) => ensemble.stop(server.parse()?)?,
        ("restart", [server]) => ensemble.restart(server.parse()?)?,
        ("partition", _) => ensemble.partition(&servers()?)?,
        ("heal", []) => ensemble.heal()?,
        ("wait", []) => ensemble.wait_until_serving()?,
        ("expire", [session]) => {
            let digits = session.trim_start_matches("0x");
            ensemble.expire(i64::from_str_radix(digits, 16)?)?;
        }
        ("leader", []) => return Ok(ensemble.leader()?.to_string()),
        _ => {
            return Err(
                "expected kill N, stop N, restart N, partition N..., heal, wait, expire ID or leader"
                    .into()
            );
        }
    }
    Ok("ok".into())
}

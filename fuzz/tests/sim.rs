//! The command `sim`, as it is run.

use std::fs::OpenOptions;
use std::io::Read;
use std::process::{Command, Stdio};

fn replay(seed: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.args(["replay", seed]).stderr(Stdio::piped());
    command
}

#[test]
fn a_story_that_nobody_reads_to_its_end_is_no_failure() {
    let mut sim = replay("5").stdout(Stdio::piped()).spawn().expect("sim");
    let mut first = [0; 10];
    // The pipe is closed with what was read: the rest finds nobody.
    sim.stdout.take().expect("a pipe").read_exact(&mut first).expect("a story");
    let ended = sim.wait_with_output().expect("the end");
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[test]
fn a_summary_that_nobody_reads_is_no_failure() {
    let mut run = Command::new(env!("CARGO_BIN_EXE_sim"));
    run.args(["run", "--seeds", "5..6"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut sim = run.spawn().expect("sim");
    drop(sim.stdout.take());
    let ended = sim.wait_with_output().expect("the end");
    assert!(ended.status.success(), "{ended:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_story_that_cannot_be_written_is_one() {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("a full disk");
    let ended = replay("5").stdout(full).output().expect("sim");
    assert_eq!(ended.status.code(), Some(2));
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(told.starts_with("sim: standard output: "), "{told}");
}

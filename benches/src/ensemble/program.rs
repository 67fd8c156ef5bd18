//! The programs that are compared, where they are, and how one server of each is started.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use serde::Serialize;

use super::run_to_end;
use crate::load::Failed;

const LOG4J: &str = "appender.out.type=Console\nappender.out.name=out\n\
    appender.out.layout.type=PatternLayout\nappender.out.layout.pattern=%d %-5p %c{1}: %m%n\n\
    rootLogger.level=warn\nrootLogger.appenderRef.out.ref=out\n";

/// Whose servers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `zabkeeper`, sockets on smol.
    Smol,
    /// `zabkeeper-std`, sockets on threads.
    Std,
    /// Apache ZooKeeper 3.9.5.
    Apache,
}

impl Kind {
    /// All of them, in the order of the tables.
    pub const ALL: [Kind; 3] = [Kind::Smol, Kind::Std, Kind::Apache];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Smol => "zabkeeper",
            Kind::Std => "zabkeeper-std",
            Kind::Apache => "ZooKeeper 3.9.5",
        })
    }
}

/// A program that can be started.
#[derive(Clone, Debug)]
pub struct Program {
    /// Whose it is.
    pub kind: Kind,
    /// The binary, or the class path.
    from: String,
}

impl Program {
    /// Finds it, after it was built or fetched if need be; or says why it cannot be had.
    ///
    /// # Errors
    /// Why there is none.
    pub fn find(kind: Kind) -> Result<Program, String> {
        let from = match kind {
            Kind::Smol => built("zabkeeper", "zabkeeper", "ZABKEEPER_BINARY")?,
            Kind::Std => built("zabkeeper-std", "zabkeeper-std", "ZABKEEPER_STD_BINARY")?,
            Kind::Apache => class_path()?,
        };
        Ok(Program { kind, from })
    }

    /// One server, whose `zoo.cfg` is in `dir`.
    pub(super) fn command(&self, dir: &Path) -> Result<Command, Failed> {
        let config = dir.join("zoo.cfg");
        if self.kind != Kind::Apache {
            let mut command = Command::new(&self.from);
            command.arg("server").arg(config).env("ZABKEEPER_LOG", "warn");
            return Ok(command);
        }
        let log4j = dir.join("log4j2.properties");
        fs::write(&log4j, LOG4J)?;
        let mut command = Command::new("java");
        command
            .args(["-Xmx1g", "-Dzookeeper.admin.enableServer=false"])
            .arg(format!("-Dlog4j2.configurationFile={}", log4j.display()))
            .args(["-cp", &self.from, "org.apache.zookeeper.server.quorum.QuorumPeerMain"])
            .arg(config);
        Ok(command)
    }
}

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder that this program was built into: others, built alike, are there, too.
pub fn built_into() -> PathBuf {
    let own = env::current_exe().unwrap_or_default();
    let dir = own.parent().unwrap_or(Path::new(".")).to_owned();
    // Tests are one level deeper.
    if dir.ends_with("deps") { dir.join("..") } else { dir }
}

/// A binary of the workspace.
fn built(package: &str, name: &str, variable: &str) -> Result<String, String> {
    if let Some(path) = env::var_os(variable) {
        let path = PathBuf::from(path);
        let found = path.is_file().then(|| path.display().to_string());
        return found.ok_or_else(|| format!("{variable}={}: no such file", path.display()));
    }
    let dir = built_into();
    let profile = dir.canonicalize().unwrap_or_default();
    let profile = profile.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // The workspace's tests have built the rest of it as a part of the workspace. What is measured
    // is built as it is for those who use it.
    let (profile, whose) = match profile {
        "debug" => ("dev", ["--workspace", "--locked"]),
        other => (other, ["--package", package]),
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run_to_end(
        Command::new(cargo)
            .current_dir(root())
            .args(["build", "--quiet", "--bin", name, "--profile", profile])
            .args(whose),
    )?;
    let path = dir.join(name);
    let found = path.is_file().then(|| path.display().to_string());
    found.ok_or_else(|| format!("{} was not built", path.display()))
}

/// Apache ZooKeeper's jars, as the interop tests have them.
fn class_path() -> Result<String, String> {
    let cache = env::var_os("ZABKEEPER_CACHE").map_or_else(|| root().join(".cache"), PathBuf::from);
    let jars = cache.join("jars");
    let main = jars.join("zookeeper-3.9.5.jar");
    let java = || run_to_end(Command::new("java").arg("-version"));
    if !main.is_file() || java().is_err() {
        run_to_end(&mut Command::new(root().join("interop/setup")))?;
    }
    java().map_err(|e| format!("Java is missing ({e})"))?;
    if !main.is_file() {
        return Err(format!("{} could not be fetched", main.display()));
    }
    let mut all: Vec<String> = fs::read_dir(&jars)
        .map_err(|e| format!("{}: {e}", jars.display()))?
        .filter_map(|entry| Some(entry.ok()?.path().display().to_string()))
        .filter(|path| path.ends_with(".jar"))
        .collect();
    all.sort();
    Ok(all.join(":"))
}

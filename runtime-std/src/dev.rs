//! The layout of a development ensemble: directories, ports and a `zoo.cfg` for each node.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::command_line::DevArgs;
use crate::exit::{self, Failure};

/// A laid-out ensemble. Dropping it removes the directory if it is a temporary one.
#[derive(Debug)]
pub struct DevEnsemble {
    /// Each node's `zoo.cfg`, by number.
    pub configs: Vec<PathBuf>,
    /// For clients: every node's address, separated by commas.
    pub connect_string: String,
    temporary: Option<TempDir>,
}

impl DevEnsemble {
    /// Makes `node1`, `node2`, ... with `zoo.cfg` and `data/myid` in the directory. Data that
    /// is there already is kept; the configuration is written anew.
    pub fn lay_out(args: &DevArgs) -> Result<DevEnsemble, Failure> {
        let temporary = match &args.dir {
            Some(_) => None,
            None => Some(
                tempfile::Builder::new()
                    .prefix("zabkeeper-dev-")
                    .tempdir()
                    .map_err(|e| unusable(&std::env::temp_dir(), &e))?,
            ),
        };
        let dir = match (&args.dir, &temporary) {
            (Some(dir), _) => dir.clone(),
            (None, Some(temporary)) => temporary.path().to_path_buf(),
            (None, None) => PathBuf::new(),
        };
        fs::create_dir_all(&dir).map_err(|e| unusable(&dir, &e))?;
        let dir = fs::canonicalize(&dir).map_err(|e| unusable(&dir, &e))?;

        let client_ports = client_ports(args)?;
        let servers = servers(args.nodes)?;
        let mut configs = Vec::new();
        for (id, client_port) in (1..).zip(&client_ports) {
            let node = dir.join(format!("node{id}"));
            let data = node.join("data");
            fs::create_dir_all(&data).map_err(|e| unusable(&data, &e))?;
            let myid = data.join("myid");
            fs::write(&myid, format!("{id}\n")).map_err(|e| unusable(&myid, &e))?;
            let config = node.join("zoo.cfg");
            let text = zoo_cfg(&data, *client_port, &servers);
            fs::write(&config, text).map_err(|e| unusable(&config, &e))?;
            configs.push(config);
        }
        let addresses: Vec<_> = client_ports.iter().map(|p| format!("127.0.0.1:{p}")).collect();
        Ok(DevEnsemble { configs, connect_string: addresses.join(","), temporary })
    }

    /// Removes the directory if it is a temporary one.
    pub fn remove(self) -> io::Result<()> {
        self.temporary.map_or(Ok(()), TempDir::close)
    }
}

/// The nodes' client ports, each seen to be free.
fn client_ports(args: &DevArgs) -> Result<Vec<u16>, Failure> {
    let mut ports = Vec::new();
    for n in 0..args.nodes {
        let Some(port) = args.client_port.checked_add(n) else {
            let what = format!(
                "--client-port {}: {} nodes need as many ports, and the last is 65535",
                args.client_port, args.nodes
            );
            return Err(Failure::new(exit::INVALID_INVOCATION, what));
        };
        TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).map_err(|e| {
            let what =
                format!("client port {port} cannot be used: {e}; choose others with --client-port");
            Failure::new(exit::INVALID_INVOCATION, what)
        })?;
        ports.push(port);
    }
    Ok(ports)
}

/// The `server.N` lines, with free quorum and election ports.
fn servers(nodes: u16) -> Result<String, Failure> {
    // All are held until all are chosen, so that none is chosen twice.
    let (mut held, mut lines) = (Vec::new(), String::new());
    for id in 1..=nodes {
        let mut ports = [0, 0];
        for port in &mut ports {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
            let chosen = listener.and_then(|l| Ok((l.local_addr()?.port(), l)));
            let (free, listener) = chosen.map_err(|e| {
                Failure::new(exit::UNEXPECTED_ERROR, format!("no free port on 127.0.0.1: {e}"))
            })?;
            *port = free;
            held.push(listener);
        }
        lines += &format!("server.{id}=127.0.0.1:{}:{}\n", ports[0], ports[1]);
    }
    Ok(lines)
}

fn zoo_cfg(data: &Path, client_port: u16, servers: &str) -> String {
    // Short ticks: on one machine nothing takes long. A vote is said again after 110 ms, then
    // after 220: each vote restarts a voter's final wait of 200 ms, so to repeat it more often
    // would put the outcome off. A small preallocation keeps many short-lived ensembles cheap.
    format!(
        "# Written by `zabkeeper dev` at every start.\n\
         dataDir={}\n\
         clientPort={client_port}\n\
         clientPortAddress=127.0.0.1\n\
         tickTime=500\n\
         initLimit=20\n\
         syncLimit=10\n\
         minSessionTimeout=1000\n\
         maxSessionTimeout=60000\n\
         maxClientCnxns=0\n\
         standaloneEnabled=false\n\
         fastleader.minNotificationInterval=110\n\
         fastleader.maxNotificationInterval=1000\n\
         preAllocSize=1024\n\
         4lw.commands.whitelist=*\n\
         {servers}",
        data.display()
    )
}

fn unusable(path: &Path, e: &io::Error) -> Failure {
    Failure::new(exit::UNABLE_TO_ACCESS_DATADIR, format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_run(nodes: u16) -> u16 {
        (23900..23990)
            .step_by(10)
            .find(|p| (*p..p + nodes).all(|p| TcpListener::bind(("127.0.0.1", p)).is_ok()))
            .unwrap()
    }

    #[test]
    fn a_directory_holds_everything_and_its_data_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let client_port = free_run(2);
        let args = DevArgs {
            nodes: 2,
            dir: Some(dir.path().join("e")),
            client_port,
            record: Default::default(),
        };
        let first = DevEnsemble::lay_out(&args).unwrap();
        let ports = (client_port, client_port + 1);
        assert_eq!(first.connect_string, format!("127.0.0.1:{},127.0.0.1:{}", ports.0, ports.1));
        let data = dir.path().join("e/node2/data");
        assert_eq!(fs::read_to_string(data.join("myid")).unwrap(), "2\n");
        let config = fs::read_to_string(&first.configs[1]).unwrap();
        assert!(config.contains(&format!("clientPort={}\n", ports.1)), "{config}");
        assert!(config.contains("server.1=127.0.0.1:") && config.contains("server.2=127.0.0.1:"));
        fs::write(data.join("kept"), "x").unwrap();
        first.remove().unwrap();
        DevEnsemble::lay_out(&args).unwrap().remove().unwrap();
        assert!(data.join("kept").exists());
    }

    #[test]
    fn a_temporary_directory_goes_at_the_end() {
        let args =
            DevArgs { nodes: 1, dir: None, client_port: free_run(1), record: Default::default() };
        let ensemble = DevEnsemble::lay_out(&args).unwrap();
        let config = ensemble.configs[0].clone();
        assert!(config.exists());
        ensemble.remove().unwrap();
        assert!(!config.exists());
    }

    #[test]
    fn a_taken_client_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let args = DevArgs { nodes: 1, dir: None, client_port: port, record: Default::default() };
        let failure = DevEnsemble::lay_out(&args).unwrap_err();
        assert!(failure.message.contains(&format!("client port {port} cannot be used")));
        assert_eq!(failure.code, exit::INVALID_INVOCATION);
        let args = DevArgs { nodes: 3, dir: None, client_port: 65534, record: Default::default() };
        let failure = DevEnsemble::lay_out(&args).unwrap_err();
        assert!(failure.message.contains("65535"), "{failure}");
    }
}

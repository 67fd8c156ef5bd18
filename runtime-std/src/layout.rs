//! Files and ports of an ensemble on one machine.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};
use tempfile::TempDir;
use zabkeeper_core::config::encode;
use zabkeeper_core::types::HostPort;

use crate::exit::{self, Failure};
use crate::files;

/// The options of a [`Layout`].
#[derive(Clone, Debug)]
pub(crate) struct LayoutOptions {
    /// The number of servers.
    pub(crate) servers: u16,
    /// The directory; `None` is a temporary one.
    pub(crate) dir: Option<PathBuf>,
    /// The client port of the first server, the others use the ports after it; `None` is any free
    /// port for each.
    pub(crate) client_port: Option<u16>,
    /// Settings in every `zoo.cfg`, key and value.
    pub(crate) settings: Vec<(String, String)>,
}

/// Directories, ports and a `zoo.cfg` for each server. Dropping it removes a temporary directory.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The servers in order of their ids, from 1.
    pub(crate) nodes: Vec<NodePaths>,
    temporary: Option<TempDir>,
}

/// The configuration file and the addresses of a server.
#[derive(Debug)]
pub(crate) struct NodePaths {
    /// The path of its `zoo.cfg`.
    pub(crate) config: PathBuf,
    /// The address for clients.
    pub(crate) client: SocketAddr,
    /// The addresses for peers: quorum and election port.
    pub(crate) peers: [HostPort; 2],
    /// Keeps other processes from its ports, also while the server is down.
    _held: Vec<Socket>,
}

impl Layout {
    /// Creates `node1`, `node2`, ... with `zoo.cfg` and `data/myid` in the directory. Existing data
    /// is kept; the configuration is rewritten.
    ///
    /// # Errors
    /// A client port is in use, or a file cannot be written.
    pub(crate) fn create(options: &LayoutOptions) -> Result<Layout, Failure> {
        let temporary = match &options.dir {
            Some(_) => None,
            None => Some(
                tempfile::Builder::new()
                    .prefix("zabkeeper-dev-")
                    .tempdir()
                    .map_err(|e| unusable(&std::env::temp_dir(), &e))?,
            ),
        };
        let dir = match (&options.dir, &temporary) {
            (Some(dir), _) => dir.clone(),
            (None, Some(temporary)) => temporary.path().to_path_buf(),
            (None, None) => PathBuf::new(),
        };
        private_dir(&dir)?;
        let dir = fs::canonicalize(&dir).map_err(|e| unusable(&dir, &e))?;

        let mut nodes = Vec::new();
        for n in 0..options.servers {
            let (client, held) = client_port(options, n)?;
            let (quorum, held_quorum) = free_port()?;
            let (election, held_election) = free_port()?;
            let peers = [quorum, election].map(|at| HostPort::new("127.0.0.1", at.port()));
            let config = dir.join(format!("node{}", n + 1)).join("zoo.cfg");
            let held = vec![held, held_quorum, held_election];
            nodes.push(NodePaths { config, client, peers, _held: held });
        }
        let mut members = String::new();
        for (id, NodePaths { peers: [quorum, election], .. }) in (1..).zip(&nodes) {
            members += &format!("server.{id}={quorum}:{}\n", election.port);
        }
        for (id, node) in (1..).zip(&nodes) {
            let data = node.config.with_file_name("data");
            private_dir(&data)?;
            let myid = data.join("myid");
            fs::write(&myid, format!("{id}\n")).map_err(|e| unusable(&myid, &e))?;
            let text = zoo_cfg(&data, node.client, &options.settings, &members);
            fs::write(&node.config, encode(&text)).map_err(|e| unusable(&node.config, &e))?;
        }
        if !cfg!(target_os = "linux") {
            // On other systems, a held port could not be bound by its server either.
            nodes.iter_mut().for_each(|node| node._held.clear());
        }
        Ok(Layout { nodes, temporary })
    }

    /// The addresses for clients, separated by commas.
    pub(crate) fn connect_string(&self) -> String {
        let all: Vec<String> = self.nodes.iter().map(|p| p.client.to_string()).collect();
        all.join(",")
    }

    /// Removes a temporary directory.
    ///
    /// # Errors
    /// The directory cannot be removed.
    pub(crate) fn remove(self) -> io::Result<()> {
        self.temporary.map_or(Ok(()), TempDir::close)
    }
}

fn private_dir(dir: &Path) -> Result<(), Failure> {
    let mut make = DirBuilder::new();
    make.recursive(true).mode(files::DIRECTORY_MODE);
    make.create(dir).map_err(|e| unusable(dir, &e))
}

fn client_port(options: &LayoutOptions, n: u16) -> Result<(SocketAddr, Socket), Failure> {
    let Some(first) = options.client_port else { return free_port() };
    let Some(port) = first.checked_add(n) else {
        let what = format!(
            "--client-port {first}: {} nodes need consecutive ports up to 65535",
            options.servers
        );
        return Err(Failure::new(exit::INVALID_INVOCATION, what));
    };
    hold(port).map_err(|e| {
        let what = format!("cannot use client port {port}: {e}; choose another with --client-port");
        Failure::new(exit::INVALID_INVOCATION, what)
    })
}

fn free_port() -> Result<(SocketAddr, Socket), Failure> {
    hold(0).map_err(|e| {
        Failure::new(exit::UNEXPECTED_ERROR, format!("no free port on 127.0.0.1: {e}"))
    })
}

/// Reserves a port (0: any free one). The system gives it to no process that requests any port; a
/// server can still bind it by its number.
fn hold(port: u16) -> io::Result<(SocketAddr, Socket)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    if port != 0 {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    // Set after the bind, so that the system chooses a port that no other socket uses.
    socket.set_reuse_address(true)?;
    let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((address, socket))
}

fn zoo_cfg(
    data: &Path,
    client: SocketAddr,
    settings: &[(String, String)],
    members: &str,
) -> String {
    let mut text = format!(
        "# Rewritten at every start.\n\
         dataDir={}\n\
         clientPort={}\n\
         clientPortAddress={}\n",
        data.display().to_string().replace('\\', "\\\\"),
        client.port(),
        client.ip()
    );
    for (key, value) in settings {
        text += &format!("{key}={value}\n");
    }
    text + members
}

fn unusable(path: &Path, e: &io::Error) -> Failure {
    Failure::new(exit::UNABLE_TO_ACCESS_DATADIR, format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn options(servers: u16, dir: Option<PathBuf>, client_port: Option<u16>) -> LayoutOptions {
        LayoutOptions {
            servers,
            dir,
            client_port,
            settings: vec![("tickTime".into(), "700".into())],
        }
    }

    fn free_run(nodes: u16) -> u16 {
        (23900..23990)
            .step_by(10)
            .find(|p| (*p..p + nodes).all(|p| TcpListener::bind(("127.0.0.1", p)).is_ok()))
            .unwrap()
    }

    #[test]
    fn given_directory_holds_all_files_and_keeps_its_data() {
        let dir = tempfile::tempdir().unwrap();
        let client_port = free_run(2);
        let options = options(2, Some(dir.path().join("e")), Some(client_port));
        let first = Layout::create(&options).unwrap();
        let ports = (client_port, client_port + 1);
        assert_eq!(first.connect_string(), format!("127.0.0.1:{},127.0.0.1:{}", ports.0, ports.1));
        let data = dir.path().join("e/node2/data");
        assert_eq!(fs::read_to_string(data.join("myid")).unwrap(), "2\n");
        let config = fs::read_to_string(&first.nodes[1].config).unwrap();
        assert!(config.contains(&format!("clientPort={}\n", ports.1)), "{config}");
        assert!(config.contains("server.1=127.0.0.1:") && config.contains("server.2=127.0.0.1:"));
        assert!(config.contains("tickTime=700\n"));
        fs::write(data.join("kept"), "x").unwrap();
        first.remove().unwrap();
        Layout::create(&options).unwrap().remove().unwrap();
        assert!(data.join("kept").exists());
    }

    #[test]
    fn temporary_directory_is_removed() {
        let layout = Layout::create(&options(1, None, None)).unwrap();
        let config = layout.nodes[0].config.clone();
        assert!(config.exists());
        layout.remove().unwrap();
        assert!(!config.exists());
    }

    #[test]
    fn client_port_in_use_is_named() {
        let used = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = used.local_addr().unwrap().port();
        let failure = Layout::create(&options(1, None, Some(port))).unwrap_err();
        assert!(failure.message.contains(&format!("cannot use client port {port}")));
        assert_eq!(failure.code, exit::INVALID_INVOCATION);
        let failure = Layout::create(&options(3, None, Some(65534))).unwrap_err();
        assert!(failure.message.contains("65535"), "{failure}");
    }

    #[test]
    fn reserved_port_can_be_bound_by_its_server() {
        let (at, _held) = free_port().unwrap();
        assert!(TcpStream::connect(at).is_err(), "nothing listens");
        if cfg!(target_os = "linux") {
            let server = TcpListener::bind(at).unwrap();
            TcpStream::connect(at).unwrap();
            drop(server);
            TcpListener::bind(at).unwrap();
        }
    }
}

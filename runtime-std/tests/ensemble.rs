//! The test ensemble: kills, restarts, partitions and expired sessions.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use zabkeeper_std::TestEnsemble;
use zabkeeper_std::ensemble::EnsembleError;

/// Opens a session, or reconnects to an old one. Returns its id, password and timeout; a timeout of
/// 0 means that the session has expired.
fn connect(at: SocketAddr, old: Option<(i64, [u8; 16])>) -> (TcpStream, i64, [u8; 16], i32) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (session, password) = old.unwrap_or_default();
    let mut request = [&45_u32.to_be_bytes()[..], &[0; 12], &30_000_i32.to_be_bytes()].concat();
    request.extend(session.to_be_bytes());
    request.extend(16_u32.to_be_bytes());
    request.extend(password);
    request.push(0);
    stream.write_all(&request).unwrap();
    let mut reply = [0; 41];
    stream.read_exact(&mut reply).unwrap();
    let timeout = i32::from_be_bytes(reply[8..12].try_into().unwrap());
    let session = i64::from_be_bytes(reply[12..20].try_into().unwrap());
    (stream, session, reply[24..40].try_into().unwrap(), timeout)
}

fn assert_closed(mut stream: TcpStream) {
    match stream.read(&mut [0; 100]) {
        Ok(0) => {}
        Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
}

fn mode(at: SocketAddr) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.write_all(b"srvr").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.lines().find_map(|line| line.strip_prefix("Mode: ")).unwrap_or("none").into()
}

#[test]
fn killed_leader_restarts_as_a_follower() {
    let ensemble = TestEnsemble::start(3).unwrap();
    let leader = ensemble.leader().unwrap();
    assert_eq!(mode(ensemble.address(leader).unwrap()), "leader");
    ensemble.kill(leader).unwrap();
    assert!(TcpStream::connect(ensemble.address(leader).unwrap()).is_err());
    assert_eq!(ensemble.kill(leader), Err(EnsembleError::NotRunning(leader)));
    let next = ensemble.leader().unwrap();
    assert_ne!(next, leader);
    ensemble.restart(leader).unwrap();
    assert_eq!(ensemble.restart(leader), Err(EnsembleError::Running(leader)));
    assert_eq!(ensemble.leader().unwrap(), next);
    assert_eq!(mode(ensemble.address(leader).unwrap()), "follower");
}

#[test]
fn partitioned_server_serves_no_client_until_healed() {
    let ensemble = TestEnsemble::start(3).unwrap();
    let leader = ensemble.leader().unwrap();
    let at = ensemble.address(leader).unwrap();
    let (stream, session, password, _) = connect(at, None);
    ensemble.partition(&[leader]).unwrap();
    assert_closed(stream);
    assert_ne!(ensemble.leader().unwrap(), leader);
    assert_eq!(mode(at), "none", "the server can be reached, and has no leader");
    // The other side keeps the session.
    let other = ensemble.servers().find(|server| *server != leader).unwrap();
    ensemble.wait_until_serving().unwrap();
    let old = Some((session, password));
    assert_eq!(connect(ensemble.address(other).unwrap(), old).1, session);
    ensemble.heal().unwrap();
    assert_eq!(mode(at), "follower");
    assert_eq!(connect(at, old).1, session);
}

#[test]
fn session_expires_on_request() {
    let ensemble = TestEnsemble::start(3).unwrap();
    for server in ensemble.servers() {
        let at = ensemble.address(server).unwrap();
        let (stream, session, password, timeout) = connect(at, None);
        assert_eq!(timeout, 30_000);
        ensemble.expire(session).unwrap();
        assert_closed(stream);
        let (_, _, _, timeout) = connect(at, Some((session, password)));
        assert_eq!(timeout, 0, "the session has expired");
        assert_eq!(ensemble.expire(session), Err(EnsembleError::UnknownSession(session)));
    }
}

#[test]
fn without_a_quorum_no_method_waits() {
    let ensemble = TestEnsemble::start(3).unwrap();
    ensemble.kill(1).unwrap();
    ensemble.stop(2).unwrap();
    assert_eq!(ensemble.leader(), Err(EnsembleError::NoQuorum));
    assert_eq!(ensemble.expire(1), Err(EnsembleError::NoQuorum));
    ensemble.wait_until_serving().unwrap();
    ensemble.kill(3).unwrap();
    for server in ensemble.servers() {
        assert!(!ensemble.is_running(server).unwrap());
        ensemble.restart(server).unwrap();
    }
    ensemble.leader().unwrap();
    assert_eq!(ensemble.kill(4), Err(EnsembleError::NoSuchServer(4)));
    assert_eq!(ensemble.partition(&[0]), Err(EnsembleError::NoSuchServer(0)));
}

#[test]
fn single_server_settings_and_directory() {
    let dir = tempfile::tempdir().unwrap();
    let at = |dir: &std::path::Path| dir.join("node1/data/version-2");
    let ensemble = TestEnsemble::builder().servers(1).dir(dir.path()).start().unwrap();
    assert_eq!(ensemble.connect_string(), ensemble.address(1).unwrap().to_string());
    drop(ensemble);
    assert!(at(dir.path()).is_dir());
    let wrong = TestEnsemble::builder().servers(1).setting("tickTime", "never").start();
    let Err(EnsembleError::Failed { server: 1, failure }) = wrong else { panic!("{wrong:?}") };
    assert!(failure.message.contains("tickTime"), "{failure}");
}

#[test]
fn ensembles_run_side_by_side_and_leave_no_listener() {
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                let ensemble = TestEnsemble::start(3).unwrap();
                ensemble.servers().map(|s| ensemble.address(s).unwrap()).collect::<Vec<_>>()
            })
        })
        .collect();
    for thread in threads {
        for at in thread.join().unwrap() {
            assert!(TcpStream::connect(at).is_err());
        }
    }
}

#[test]
fn failover_partition_and_expiry_take_less_than_a_second() {
    let run = |_| {
        let began = Instant::now();
        let ensemble = TestEnsemble::start(3).unwrap();
        let leader = ensemble.leader().unwrap();
        ensemble.kill(leader).unwrap();
        ensemble.wait_until_serving().unwrap();
        ensemble.restart(leader).unwrap();
        ensemble.partition(&[ensemble.leader().unwrap()]).unwrap();
        ensemble.wait_until_serving().unwrap();
        ensemble.heal().unwrap();
        let (_stream, session, ..) = connect(ensemble.address(1).unwrap(), None);
        ensemble.expire(session).unwrap();
        drop(ensemble);
        began.elapsed()
    };
    // The fastest of five runs: the machine may be busy.
    let took: Vec<Duration> = (0..5).map(run).collect();
    assert!(took.iter().min().unwrap() < &Duration::from_secs(1), "{took:?}");
}

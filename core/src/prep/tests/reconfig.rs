//! A request to change the members: what is refused, in which order, and what is proposed.

use alloc::format;
use alloc::string::{String, ToString};

use super::*;
use crate::config::EnsembleConfig;
use crate::prep::Members;
use crate::quorum::Membership;

const THREE: &str = "server.1=a:1:2;3\nserver.2=b:1:2;3\nserver.3=c:1:2;3\nversion=100000000";

fn config(text: &str) -> EnsembleConfig {
    EnsembleConfig::parse("x", text).unwrap()
}

fn body(joining: Option<&str>, leaving: Option<&str>, members: Option<&str>, from: i64) -> Bytes {
    let mut out = BytesMut::new();
    for text in [joining, leaving, members] {
        out.put_buffer(text.map(str::as_bytes));
    }
    out.put_i64(from);
    out.freeze()
}

/// What can be wrong around the request.
struct World {
    enabled: bool,
    multi_address: bool,
    standalone_enabled: bool,
    ensemble: bool,
    next: Option<EnsembleConfig>,
    now: EnsembleConfig,
    is_synced: bool,
    is_super: bool,
    check: SessionCheck,
}

impl World {
    fn new() -> World {
        World {
            enabled: true,
            multi_address: false,
            standalone_enabled: true,
            ensemble: true,
            next: None,
            now: config(THREE),
            is_synced: true,
            is_super: true,
            check: SessionCheck::Ok,
        }
    }

    fn ask(&self, body: &Bytes) -> Result<String, ErrorCode> {
        let mut leader = Leader::new();
        leader.store.show_config(&self.now.to_text(), self.now.version, NOW_MS);
        if self.is_super {
            leader.ids.push(Id { scheme: "super".into(), id: "".into() });
        }
        let parsed = parse(OpCode::Reconfig, body).unwrap();
        let auth = Arc::from(&*leader.ids);
        let request =
            Request { session: ME, cxid: 9, op: OpCode::Reconfig, body: body.clone(), auth };
        let next = self.next.clone().map(Arc::new);
        let membership = Membership::new(Arc::new(self.now.clone()), next);
        let is_synced = |_: &EnsembleConfig| self.is_synced;
        let members = Members {
            enabled: self.enabled,
            multi_address: self.multi_address,
            standalone_enabled: self.standalone_enabled,
            membership: self.ensemble.then_some(&membership),
            is_synced: &is_synced,
        };
        let zxid = leader.next_zxid();
        let store = &leader.store;
        let prepared =
            leader.prep.reconfigure(store, &request, parsed, self.check, &members, zxid, NOW_MS);
        let txn = leader.proposed(prepared);
        leader.commit();
        match txn.txn {
            Txn::Error(code) => Err(ErrorCode::from_i32(code).unwrap()),
            Txn::Reconfig(txn) => {
                assert_eq!((&*txn.path, txn.version), ("/zookeeper/config", -1));
                let node = leader.store.node("/zookeeper/config").unwrap();
                let stat = node.stat();
                assert_eq!(
                    (node.data(), stat.version, stat.mzxid),
                    (txn.data.as_deref(), -1, zxid)
                );
                let text = String::from_utf8(txn.data.unwrap().to_vec()).unwrap();
                let version = format!("\nversion={:x}", zxid.0);
                Ok(text.strip_suffix(&version).unwrap().to_string())
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn members_leave_and_join() {
    let world = World::new();
    let line = |id: i64, host: &str| format!("server.{id}={host}:1:2:participant;0.0.0.0:3");
    let [one, two, three] = [line(1, "a"), line(2, "b"), line(3, "c")];
    for (joining, leaving, members, expected) in [
        (None, Some("3"), None, format!("{one}\n{two}")),
        (None, Some(" 3 , 9,"), None, format!("{one}\n{two}")),
        (Some("server.4=d:1:2;3"), Some("3"), None, format!("{one}\n{two}\n{}", line(4, "d"))),
        (Some("4=d:1:2;3"), None, None, format!("{one}\n{two}\n{three}\n{}", line(4, "d"))),
        (
            Some("server.3=c:1:2:observer;h:7"),
            None,
            None,
            format!("{one}\n{two}\nserver.3=c:1:2:observer;h:7"),
        ),
        (None, None, Some("server.1=a:1:2;3,server.2=b:1:2;3"), format!("{one}\n{two}")),
        (
            Some("ignored"),
            None,
            Some("server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1:2"),
            "server.1=a:1:2:participant\nserver.2=b:1:2:participant\ngroup.1=1:2\nweight.1=1\n\
             weight.2=1"
                .to_string(),
        ),
    ] {
        let asked = body(joining, leaving, members, -1);
        assert_eq!(
            world.ask(&asked).as_ref(),
            Ok(&expected),
            "{joining:?} {leaving:?} {members:?}"
        );
    }
    assert!(world.ask(&body(None, Some("3"), None, 0x1_0000_0000)).is_ok());
}

#[test]
fn impossible_reconfiguration_is_refused() {
    use ErrorCode::*;
    let world = World::new();
    for (joining, leaving, members, expected) in [
        (None, Some("x"), None, MarshallingError),
        (Some("server.x=d:1:2;3"), None, None, MarshallingError),
        (Some("server.4"), None, None, BadArguments),
        (Some("server.4=d:1:2=3"), None, None, BadArguments),
        (Some("server.4=d:1"), None, None, BadArguments),
        (Some("server.4=d:1:2"), None, None, BadArguments),
        (Some("server.4=d:1:1;3"), None, None, BadArguments),
        (Some("server.4=a:1:7;3"), None, None, BadArguments),
        (None, Some("2,3"), None, BadArguments),
        (None, None, Some("bogus"), BadArguments),
        (None, None, Some("tickTime=1"), BadArguments),
        (None, None, Some("server.1=a:1:2:observer"), MarshallingError),
        (None, None, Some("server.1=a:1:2,server.2=b:1:2:observer"), MarshallingError),
        (None, None, Some("server.1=a:1:2"), BadArguments),
    ] {
        let asked = body(joining, leaving, members, -1);
        assert_eq!(world.ask(&asked), Err(expected), "{joining:?} {leaving:?} {members:?}");
    }
    let grouped = config(&format!("{THREE}\ngroup.1=1:2:3"));
    let world = World { now: grouped, ..World::new() };
    assert_eq!(world.ask(&body(None, Some("3"), None, -1)), Err(BadArguments));
    let world = World { standalone_enabled: false, ..World::new() };
    assert!(world.ask(&body(None, Some("2,3"), None, -1)).is_ok(), "one voter is an ensemble");
    assert_eq!(world.ask(&body(None, Some("1,2,3"), None, -1)), Err(BadArguments));
}

/// What one member would not read must not be proposed to it.
#[test]
fn several_addresses_are_for_ensembles_that_take_them() {
    use ErrorCode::BadArguments;
    let off = World::new();
    let on = World { multi_address: true, ..World::new() };
    let rest = "server.1=a:1:2;3,server.2=b:1:2;3";
    for (line, with_several) in [
        ("server.3=c:1:2|d:1:2;3", Ok(())),
        ("server.3=c:1:2:observer|d:1:2:observer;3", Ok(())),
        ("server.3=c:1:2|c:4:5;3", Ok(())),
        ("server.3=c:1:2:observer|d:1:2:participant;3", Err(BadArguments)),
        ("server.3=c:1:2|d:1:1;3", Err(BadArguments)),
        ("server.3=c:1:2|c:1:3;3", Err(BadArguments)),
        ("server.3=c:1:2|c:3:2;3", Err(BadArguments)),
        ("server.3=c:1:1;3", Err(BadArguments)),
    ] {
        let whole = format!("{rest},{line}");
        let ways = [(Some(line), None), (None, Some(whole.as_str()))];
        for (joining, members) in ways {
            let asked = body(joining, None, members, -1);
            assert_eq!(off.ask(&asked), Err(BadArguments), "{line}");
            assert_eq!(on.ask(&asked).map(|_| ()), with_several, "{line}");
        }
    }
    // Who has several already stays as it is.
    let now = config(&THREE.replace("c:1:2", "c:1:2|d:1:2"));
    let world = World { now, ..World::new() };
    assert!(world.ask(&body(Some("server.4=e:1:2;3"), None, None, -1)).is_ok());
}

/// Each of these would refuse it; the first in the list does.
#[test]
fn the_order_of_refusals() {
    use ErrorCode::*;
    let next = config(&THREE.replace("100000000", "100000005"));
    let asked = body(None, Some("2,3"), None, 5);
    let mut world = World {
        enabled: false,
        ensemble: false,
        next: Some(next),
        is_synced: false,
        is_super: false,
        check: SessionCheck::Moved,
        ..World::new()
    };
    assert_eq!(world.ask(&asked), Err(SessionMoved));
    world.check = SessionCheck::Expired;
    assert_eq!(world.ask(&asked), Err(ReconfigDisabled));
    world.enabled = true;
    assert_eq!(world.ask(&asked), Err(SessionExpired));
    world.check = SessionCheck::Ok;
    assert_eq!(world.ask(&asked), Err(Unimplemented));
    world.ensemble = true;
    assert_eq!(world.ask(&asked), Err(ReconfigInProgress));
    world.next = None;
    assert_eq!(world.ask(&asked), Err(BadVersion));
    let asked = body(None, Some("2,3"), None, -1);
    assert_eq!(world.ask(&asked), Err(BadArguments));
    let asked = body(None, Some("3"), None, -1);
    assert_eq!(world.ask(&asked), Err(NewConfigNoQuorum));
    world.is_synced = true;
    assert_eq!(world.ask(&asked), Err(NoAuth));
    world.is_super = true;
    assert!(world.ask(&asked).is_ok());
}

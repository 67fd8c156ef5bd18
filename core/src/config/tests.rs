//! Texts in, a configuration or an error of one line out.

use super::*;

const ENSEMBLE: &str = "dataDir=/d\ninitLimit=5\nsyncLimit=2\nclientPort=2181\n\
    server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888:observer\n";

fn parse(text: &str, myid: Option<&str>) -> Result<(Config, Vec<Warning>), ConfigError> {
    Config::parse("zoo.cfg", text, myid, None)
}

fn texts(warnings: &[Warning]) -> Vec<String> {
    warnings.iter().map(Warning::to_string).collect()
}

#[test]
fn standalone_server_has_zookeepers_defaults() {
    let (config, warnings) = parse("dataDir=/d\nclientPort=2181\n", None).unwrap();
    assert!(warnings.is_empty() && config.ensemble.is_none());
    assert_eq!((config.sessions.tick_time_ms, config.storage.data_log_dir.as_str()), (3000, "/d"));
    assert_eq!((config.sessions.min_timeout_ms, config.sessions.max_timeout_ms), (6000, 60_000));
    assert_eq!((config.limits.max_client_connections, config.storage.snap_count), (60, 100_000));
    assert_eq!(
        (config.limits.jute_max_buffer, config.limits.jute_extra_size),
        (1_048_575, 1_048_575)
    );
}

#[test]
fn ensemble_has_the_members_of_its_lines() {
    let (config, _) = parse(ENSEMBLE, Some("2\n")).unwrap();
    let ensemble = config.ensemble.unwrap();
    assert_eq!(config.my_id, ServerId(2));
    assert_eq!(ensemble.voters().count(), 2);
    assert_eq!(
        ensemble.to_text(),
        "server.1=a:2888:3888:participant\nserver.2=b:2888:3888:participant\n\
         server.3=c:2888:3888:observer\nversion=0"
    );
}

#[test]
fn prefix_in_zoo_cfg_has_no_effect_and_the_last_of_equal_keys_counts() {
    let text =
        "dataDir=/d\nclientPort=1\nzookeeper.snapCount=7\nforceSync=no\nsnapCount=8\nsnapCount=9\n";
    let (config, warnings) = parse(text, None).unwrap();
    assert_eq!((config.storage.snap_count, config.storage.force_sync), (9, false));
    assert_eq!(
        texts(&warnings),
        [
            "zoo.cfg:3: zookeeper.snapCount has no effect in zoo.cfg; ZooKeeper reads it as snapCount \
          there"
        ]
    );
}

#[test]
fn jvm_properties_count_where_zookeeper_reads_them() {
    let read = |text: &str, flags: &[(&str, &str)]| {
        let flags: Vec<_> = flags.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let text = format!("dataDir=/d\nclientPort=1\n{text}");
        let sources = Sources { name: "zoo.cfg", text: &text, flags: &flags, ..Sources::default() };
        let (config, warnings) = Config::read(&sources).unwrap();
        (
            config.limits.jute_max_buffer,
            config.storage.snap_count,
            config.sessions.tick_time_ms,
            texts(&warnings),
        )
    };
    let place = "system property (-D, SERVER_JVMFLAGS or JVMFLAGS)";
    for (text, flags, counts, warning) in [
        ("", [("jute.maxbuffer", "0x9fffff")].as_slice(), (0x9f_ffff, 100_000, 3000), None),
        (
            "jute.maxbuffer=4194304",
            &[],
            (1_048_575, 100_000, 3000),
            Some(
                "zoo.cfg:3: jute.maxbuffer has no effect in zoo.cfg; ZooKeeper reads it as \
                  -Djute.maxbuffer only"
                    .to_string(),
            ),
        ),
        ("snapCount=7", &[("zookeeper.snapCount", "9")], (1_048_575, 7, 3000), None),
        (
            "",
            &[("zookeeper.tickTime", "9")],
            (1_048_575, 100_000, 3000),
            Some(format!(
                "{place}: -Dzookeeper.tickTime has no effect; ZooKeeper reads tickTime in zoo.cfg only"
            )),
        ),
        (
            "",
            &[("snapCount", "9")],
            (1_048_575, 100_000, 3000),
            Some(format!(
                "{place}: -DsnapCount has no effect; ZooKeeper reads it as -Dzookeeper.snapCount"
            )),
        ),
        (
            "",
            &[("jute.maxbuffer", "10MB")],
            (1_048_575, 100_000, 3000),
            Some(format!(
                "{place}: jute.maxbuffer=10MB is not a number: 1048575 is used, as in ZooKeeper"
            )),
        ),
        (
            "",
            &[("jute.maxbuffer", "047777777")],
            (0x9f_ffff, 100_000, 3000),
            Some(format!(
                "{place}: jute.maxbuffer=047777777 is octal: 10485759 is used, as in ZooKeeper"
            )),
        ),
        (
            "snapCount=1",
            &[],
            (1_048_575, 2, 3000),
            Some("zoo.cfg:3: snapCount=1: 2 is used, as in ZooKeeper".to_string()),
        ),
        ("", &[("log4j.x", "y")], (1_048_575, 100_000, 3000), None),
    ] {
        let (jute, snap, tick, warnings) = read(text, flags);
        assert_eq!((jute, snap, tick), counts, "{text} {flags:?}");
        assert_eq!(warnings, Vec::from_iter(warning), "{text} {flags:?}");
    }
    assert!(concerns("zookeeper.x") && concerns("jute.maxbuffer") && !concerns("log4j.x"));
}

#[test]
fn settings_that_keep_clients_out_give_warnings() {
    for (text, warning) in [
        ("", "zoo.cfg: no clientPort: no client can connect"),
        ("clientPort=0\n", "zoo.cfg: clientPort is 0: clients cannot know the port"),
        ("server.1=h:1:2\n", "zoo.cfg: no clientPort: no client can connect"),
        (
            "clientPort=1\nclientPortAddress=\n",
            "zoo.cfg:3: clientPortAddress=: localhost is used, as in ZooKeeper",
        ),
    ] {
        let (_, warnings) = parse(&format!("dataDir=/d\n{text}"), Some("1")).unwrap();
        assert_eq!(texts(&warnings), [warning], "{text}");
    }
    let alone = parse("dataDir=/d\nserver.1=a:1:2;2181\n", Some("1")).unwrap();
    assert_eq!(texts(&alone.1), [] as [String; 0]);
}

#[test]
fn byte_order_mark_gives_a_warning() {
    let mark = decode("\u{feff}".as_bytes());
    let (config, warnings) =
        parse(&format!("{mark}tickTime=5\ndataDir=/d\nclientPort=1\n"), None).unwrap();
    assert_eq!(config.sessions.tick_time_ms, 3000);
    assert!(texts(&warnings).iter().any(|line| line.contains("byte order mark")), "{warnings:?}");
    let error = parse(&format!("{mark}dataDir=/d\n"), None).unwrap_err().to_string();
    assert!(error.starts_with("zoo.cfg: dataDir is missing") && error.contains("byte order mark"));
}

#[test]
fn equal_and_unknown_ports_of_members_are_refused() {
    let head = "dataDir=/d\nclientPort=1\ninitLimit=5\nsyncLimit=2\nserver.1=a:1:2\n";
    for (line, expected) in [
        ("server.2=b:1:1", "two ports that differ, for the quorum and for the election"),
        ("server.2=b:0:0", "two ports that differ, for the quorum and for the election"),
        ("server.2=b:0:1", "ports that others can know, 1 to 65535"),
    ] {
        let error = parse(&format!("{head}{line}\n"), Some("1")).unwrap_err().to_string();
        assert_eq!(error, format!("zoo.cfg:6: {line}: expected {expected}"));
    }
    let (_, warnings) = parse(&format!("{head}server.2=a:2:3\n"), Some("1")).unwrap();
    assert_eq!(
        texts(&warnings),
        ["zoo.cfg: two members have the address a:2: only one can listen there"]
    );
}

#[test]
fn mistakes_are_reported_in_one_line_with_their_place() {
    for (text, myid, expected) in [
        ("clientPort=1\n", None, "zoo.cfg: dataDir is missing: expected a directory"),
        (
            "dataDir=/d\n\ntickTime=abc\n",
            None,
            "zoo.cfg:3: tickTime=abc: expected a whole number of milliseconds, 1 or more",
        ),
        (
            "dataDir=/d\ntickTime=0\n",
            None,
            "zoo.cfg:2: tickTime=0: expected a whole number of milliseconds, 1 or more",
        ),
        (
            "dataDir=/d\nquorumListenOnAllIPs=maybe\n",
            None,
            "zoo.cfg:2: quorumListenOnAllIPs=maybe: expected true or false",
        ),
        (
            "dataDir=/d\nclientPort=70000\n",
            None,
            "zoo.cfg:2: clientPort=70000: expected a port, 0 to 65535",
        ),
        ("dataDir=/d\nelectionAlg=1\n", None, "zoo.cfg:2: electionAlg=1: expected 3"),
        (
            "dataDir=/d\nserver.1=a:1\n",
            None,
            "zoo.cfg:2: server.1=a:1: expected host:quorumPort:electionPort[:participant|:observer][;[clientHost:]clientPort]",
        ),
        (
            "dataDir=/d\nserver.1=a:1:2\nserver.2=b:1:2\n",
            Some("1"),
            "zoo.cfg: initLimit is missing: expected a whole number of ticks, 1 or more",
        ),
        (
            ENSEMBLE,
            None,
            "/d/myid: the file is missing: expected one of the ids 1, 2, 3 of the server.N lines",
        ),
        (
            ENSEMBLE,
            Some("\n2\n"),
            "/d/myid: nothing in the first line: expected one of the ids 1, 2, 3 of the server.N lines",
        ),
        (ENSEMBLE, Some("7"), "/d/myid: 7: expected one of the ids 1, 2, 3 of the server.N lines"),
        (
            "dataDir=/d\nsecureClientPort=2281\n",
            None,
            "zoo.cfg:2: secureClientPort=2281 is not supported yet, and to ignore it would not be safe: \
          remove it, or keep this member on Apache ZooKeeper",
        ),
        (
            "dataDir=/d\nminSessionTimeout=9\nmaxSessionTimeout=8\n",
            None,
            "zoo.cfg:2: minSessionTimeout=9: expected at most maxSessionTimeout (8), not 9",
        ),
    ] {
        let error = parse(text, myid).unwrap_err().to_string();
        assert_eq!(error, expected);
        assert!(!error.contains('\n'));
    }
}

#[test]
fn keys_without_effect_and_unknown_keys_give_one_warning() {
    let text = "dataDir=/d\nadmin.enableServer=true\nsnapCuont=5\nsnapCuont=6\nclientPort=1\n";
    let (_, warnings) = parse(text, None).unwrap();
    assert_eq!(
        texts(&warnings),
        ["zoo.cfg:2: admin.enableServer has no effect here", "zoo.cfg:4: unknown key snapCuont"]
    );
}

#[test]
fn several_addresses_of_a_member_need_multi_address() {
    let line = "server.2=b:1:2|c:1:2";
    let text = format!("dataDir=/d\ninitLimit=5\nsyncLimit=2\nserver.1=a:1:2\n{line}\n");
    let expected = "zoo.cfg:5: server.2 has several addresses: expected one, or \
                    multiAddress.enabled=true (Apache ZooKeeper needs \
                    -Dzookeeper.multiAddress.enabled=true)";
    assert_eq!(parse(&text, Some("1")).unwrap_err().to_string(), expected);
    // Also in the dynamic file, and of a server that is alone.
    let fixed = "dataDir=/d\ninitLimit=5\nsyncLimit=2\n";
    let dynamic = Some(("d", "server.1=a:1:2\nserver.2=b:1:2|c:1:2\n"));
    let error = Config::parse("zoo.cfg", fixed, Some("1"), dynamic).unwrap_err();
    assert_eq!(error.place, "d:2");
    assert!(parse("dataDir=/d\nserver.1=a:1:2|b:1:2\n", None).is_err());
    for on in ["multiAddress.enabled=true", "multiAddress.enabled=TRUE"] {
        let text = format!("{text}{on}\nclientPort=1\n");
        let (config, warnings) = parse(&text, Some("1")).unwrap();
        assert!(config.quorum.multi_address && warnings.is_empty(), "{on}");
    }
    let error = parse("dataDir=/d\nserver.1=a:1:2:observer|b:1:2:participant\n", None);
    assert_eq!(
        error.unwrap_err().to_string(),
        "zoo.cfg:2: server.1=a:1:2:observer|b:1:2:participant: expected one role for all \
         addresses of a server"
    );
}

#[test]
fn addresses_are_normalized_as_java_does() {
    let text = "dataDir=/d\nclientPort=2181\nclientPortAddress=::1%lo\n";
    let (config, _) = parse(text, None).unwrap();
    assert_eq!(config.network.client_port_address.as_deref(), Some("0:0:0:0:0:0:0:1%lo"));
    let text = "dataDir=/d\ninitLimit=5\nsyncLimit=2\nclientPort=9\nclientPortAddress=[::1]\n\
                server.1=[::1]:1:2;[0:0::1]:9\nserver.2=[FE80::2%eth0]:1:2:observer\n\
                server.3=[::ffff:10.0.0.3]:1:2;[::]:9\n";
    let (config, _) = parse(text, Some("1")).unwrap();
    assert_eq!(
        config.ensemble.unwrap().to_text(),
        "server.1=[0:0:0:0:0:0:0:1]:1:2:participant;[0:0:0:0:0:0:0:1]:9\n\
         server.2=[fe80:0:0:0:0:0:0:2%eth0]:1:2:observer\n\
         server.3=10.0.0.3:1:2:participant;[0:0:0:0:0:0:0:0]:9\nversion=0"
    );
    // Of the member with the wildcard, clients come to every address.
    let (config, _) =
        parse(text.replace("clientPortAddress=[::1]\n", "").as_str(), Some("3")).unwrap();
    assert_eq!(config.network.client_port_address, None);
}

#[test]
fn only_the_exact_word_switches_safety_off() {
    for (line, sync, skip) in [
        ("", true, false),
        ("forceSync=no", false, false),
        ("forceSync=true", true, false),
        ("skipACL=yes", true, true),
        ("skipACL=false", true, false),
    ] {
        let (config, _) = parse(&format!("dataDir=/d\n{line}\n"), None).unwrap();
        assert_eq!((config.storage.force_sync, config.security.skip_acl), (sync, skip), "{line}");
    }
    for (line, word) in [("forceSync=false", "yes"), ("skipACL=true", "no"), ("skipACL=YES", "no")]
    {
        let (config, warnings) =
            parse(&format!("dataDir=/d\nclientPort=1\n{line}\n"), None).unwrap();
        assert_eq!((config.storage.force_sync, config.security.skip_acl), (true, false), "{line}");
        let unsafe_word = if word == "yes" { "no" } else { "yes" };
        let expected =
            format!("zoo.cfg:3: {line} is not {unsafe_word}: {word} is used, as in ZooKeeper");
        assert_eq!(texts(&warnings), [expected]);
    }
    let (config, warnings) =
        parse("dataDir=/d\nclientPort=1\nsnapshot.trust.empty=yes\n", None).unwrap();
    assert!(!config.storage.trust_empty_snapshot);
    assert_eq!(
        texts(&warnings),
        ["zoo.cfg:3: snapshot.trust.empty=yes is not true: false is used, as in ZooKeeper"]
    );
}

#[test]
fn unsupported_protection_is_refused() {
    for line in [
        "secureClientPort=1",
        "sslQuorum=TRUE",
        "sslQuorum=yes",
        "quorum.auth.enableSasl=true",
        "quorum.auth.serverRequireSasl=true",
        "sessionRequireClientSASLAuth=true",
        "authProvider.1=x",
        "authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
    ] {
        let error = parse(&format!("dataDir=/d\n{line}\n"), None).unwrap_err().to_string();
        assert!(error.starts_with("zoo.cfg:2: ") && error.contains("not supported yet"), "{error}");
    }
    for line in ["sslQuorum=false", "quorum.auth.enableSasl=False"] {
        let text = format!("dataDir=/d\nclientPort=1\n{line}\n");
        assert_eq!(parse(&text, None).unwrap().1, [], "{line}");
    }
}

#[test]
fn enforced_schemes_must_be_enabled() {
    let on = "dataDir=/d\nenforce.auth.enabled=true\n";
    let (config, _) = parse(&format!("{on}enforce.auth.schemes=digest, ip\n"), None).unwrap();
    assert_eq!(config.security.enforced_schemes, ["digest", "ip"]);
    for (line, expected) in [
        ("", "zoo.cfg:2: enforce.auth.enabled=true: expected enforce.auth.schemes beside it"),
        (
            "enforce.auth.schemes=digest,sasl\n",
            "zoo.cfg:3: enforce.auth.schemes=digest,sasl: expected ip or digest, separated by commas",
        ),
    ] {
        let error = parse(&format!("{on}{line}"), None).unwrap_err().to_string();
        assert_eq!(error, expected);
    }
    let (config, _) = parse("dataDir=/d\nenforce.auth.schemes=digest\n", None).unwrap();
    assert!(config.security.enforced_schemes.is_empty());
}

#[test]
fn authentication_providers_are_recognized_by_class() {
    let read = |lines: &str| {
        let (config, warnings) =
            parse(&format!("dataDir=/d\nclientPort=1\n{lines}"), None).unwrap();
        assert_eq!(warnings, []);
        config
    };
    let schemes = |config: &Config| (config.security.digest_auth, config.security.x509_auth);
    let class = |name: &str| format!("org.apache.zookeeper.server.auth.{name}\n");
    let x509 = format!("authProvider.1={}", class("X509AuthenticationProvider"));
    let no_digest = "DigestAuthenticationProvider.enabled=false\n";
    assert_eq!(schemes(&read("")), (true, false));
    assert_eq!(schemes(&read(no_digest)), (false, false));
    assert_eq!(schemes(&read(&x509)), (true, true));
    let again = format!("authProvider.d={}", class("DigestAuthenticationProvider"));
    assert_eq!(schemes(&read(&format!("{no_digest}{again}"))), (true, false));
    let ip = format!("authProvider.ip={}", class("IPAuthenticationProvider"));
    let root = "X509AuthenticationProvider.superUser=CN=root,O=a\n";
    let config = read(&format!("{x509}{ip}{no_digest}{root}"));
    assert_eq!(schemes(&config), (false, true));
    assert_eq!(config.security.x509_super_user.as_deref(), Some("CN=root,O=a"));
    let enforced = "enforce.auth.enabled=true\nenforce.auth.schemes=x509\n";
    assert_eq!(read(&format!("{x509}{enforced}")).security.enforced_schemes, ["x509"]);
    let error = parse(&format!("dataDir=/d\n{no_digest}{enforced}"), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "zoo.cfg:4: enforce.auth.schemes=x509: expected ip, separated by commas"
    );
}

#[test]
fn client_address_of_the_member_line_wins_and_must_not_be_contradicted() {
    let two = "dataDir=/d\ninitLimit=5\nsyncLimit=2\nserver.2=b:1:2\n";
    for (lines, expected) in [
        ("server.1=a:1:2;2181", Ok((2181, None))),
        ("server.1=a:1:2;127.0.0.1:2181", Ok((2181, Some("127.0.0.1")))),
        ("clientPort=2181\nserver.1=a:1:2;127.0.0.1:2181", Ok((2181, Some("127.0.0.1")))),
        ("clientPort=2181\nserver.1=a:1:2", Ok((2181, None))),
        (
            "clientPort=2182\nserver.1=a:1:2;2181",
            Err("zoo.cfg:5: clientPort=2182: expected 2181, as in this server's own line"),
        ),
        (
            "clientPort=2181\nclientPortAddress=127.0.0.1\nserver.1=a:1:2;2181",
            Err("zoo.cfg:6: clientPortAddress=127.0.0.1: expected 0.0.0.0, as in this server's \
                 own line"),
        ),
    ] {
        let read = parse(&format!("{two}{lines}\n"), Some("1")).map(|(c, _)| c);
        let read = read.as_ref().map_err(ConfigError::to_string);
        let read = read
            .map(|c| (c.network.client_port.unwrap(), c.network.client_port_address.as_deref()));
        assert_eq!(read, expected.map_err(String::from));
    }
    let alone = "dataDir=/d\nserver.1=a:1:2;127.0.0.1:2181\n";
    let (config, _) = parse(alone, Some("1")).unwrap();
    assert_eq!(
        (config.network.client_port, config.my_id, config.ensemble),
        (Some(2181), ServerId(0), None)
    );
}

#[test]
fn inconsistent_ensemble_lines_are_refused() {
    let head = "dataDir=/d\ninitLimit=5\nsyncLimit=2\n";
    for (lines, expected) in [
        ("standaloneEnabled=false", "zoo.cfg: no server votes: expected at least one participant"),
        (
            "server.1=a:1:2:observer",
            "zoo.cfg:4: no server votes: expected at least one participant",
        ),
        (
            "server.1=a:1:2\nserver.2=b:1:2:observer",
            "zoo.cfg:4: observers need an ensemble: expected several participants, or \
             standaloneEnabled=false",
        ),
        (
            "server.1=a:1:2\nserver.2=b:1:2\nweight.1=2",
            "zoo.cfg:4: server 1 is in no group: expected every voter in a group.G line",
        ),
        (
            "server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1:2:3",
            "zoo.cfg:4: server 3 of a group.G line has no server.3 line",
        ),
        (
            "server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1:2\nweight.1=-1",
            "zoo.cfg:7: weight.1=-1: expected a whole number, 0 or more",
        ),
        (
            "extendedTypesEnabled=true\nserver.1=a:1:2\nserver.255=b:1:2",
            "zoo.cfg:5: server.255: expected ids 0 to 254 with extendedTypesEnabled",
        ),
        ("peerType=king", "zoo.cfg:4: peerType=king: expected participant or observer"),
    ] {
        let error = parse(&format!("{head}{lines}\n"), Some("1")).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let one = format!("{head}standaloneEnabled=false\nserver.1=a:1:2\n");
    assert_eq!(parse(&one, Some("1")).unwrap().0.ensemble.unwrap().members.len(), 1);
    let twice = format!("{head}server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1\ngroup.1=1:2\n");
    assert_eq!(parse(&twice, Some("1")).unwrap().0.ensemble.unwrap().groups.len(), 2);
}

#[test]
fn dynamic_file_holds_members_and_its_name_the_version() {
    let text = "dataDir=/d\ninitLimit=5\nsyncLimit=2\ndynamicConfigFile=/c/zoo.cfg.dynamic\n";
    let read = |name: &str, dynamic: &str| {
        Config::parse("zoo.cfg", text, Some("1"), Some((name, dynamic)))
            .map(|(config, warnings)| (config.ensemble.unwrap().version, warnings.len()))
            .map_err(|e| e.to_string())
    };
    let two = "server.1=a:1:2;2181\nserver.2=b:1:2;2181\n";
    assert_eq!(read("zoo.cfg.dynamic", two), Ok((0, 0)));
    assert_eq!(read("zoo.cfg.dynamic.100000002", two), Ok((0x1_0000_0002, 0)));
    assert_eq!(
        read("dyn", &format!("{two}version=1f\n")).unwrap_err(),
        "dyn:3: a dynamicConfigFile has no version line: the version is the end of its name"
    );
    assert_eq!(
        read("dyn", "tickTime=1\n").unwrap_err(),
        "dyn:1: tickTime=1: expected only server.N, group.N, weight.N and version in this file"
    );
    let both = format!("{text}server.1=a:1:2\n");
    let error = Config::parse("zoo.cfg", &both, Some("1"), Some(("dyn", two))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "zoo.cfg:5: server.1 belongs in the dynamicConfigFile, dyn: move it there"
    );
}

#[test]
fn control_characters_and_overflows_are_contained() {
    let error = parse("dataDir=/d\ntickTime=a\\nb\n", None).unwrap_err().to_string();
    assert!(error.starts_with("zoo.cfg:2: tickTime=a b: expected"), "{error}");
    let error = parse("dataDir=/d\nx=C:\\users\n", None).unwrap_err().to_string();
    assert!(error.starts_with("zoo.cfg:2: \\u without four hexadecimal digits"), "{error}");
    assert!(parse("dataDir=/d\ntickTime=18446744073709551615\n", None).is_err());
    let (config, _) = parse("dataDir=/d\ntickTime=2147483647\n", None).unwrap();
    assert_eq!(config.sessions.max_timeout_ms, i32::MAX);
}

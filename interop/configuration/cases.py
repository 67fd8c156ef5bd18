"""The configurations that ZooKeeper is asked about. `@` stands for a directory that has `d/myid` with the number 1."""

MEMBERS = b"server.1=127.0.0.1:2888:3888\nserver.2=127.0.0.1:2889:3889\nserver.3=127.0.0.1:2890:3890\n"
ALONE = b"dataDir=@/d\nclientPort=2181\n"
LIMITS = b"dataDir=@/d\ninitLimit=5\nsyncLimit=2\n"
# What the lines of a case stand behind; of `dynamic` they are the dynamic file.
BASES = {
    "alone": ALONE,
    "member": LIMITS + b"clientPort=2181\n" + MEMBERS,
    "bare": b"",
    "one": LIMITS + b"standaloneEnabled=false\n",
    "dynamic": LIMITS + b"dynamicConfigFile=@/zoo.cfg.dynamic\n",
}

# Bases that are nothing by themselves, and whose row stands for theirs.
COMPARED = {"bare": "alone", "one": "member", "dynamic": "member"}

# Keys of the file (`QuorumPeerConfig`).
FILE_NUMBERS = ["tickTime", "maxClientCnxns", "minSessionTimeout", "maxSessionTimeout", "initLimit", "syncLimit",
                "clientPortListenBacklog", "observerMasterPort", "autopurge.snapRetainCount", "autopurge.purgeInterval",
                "connectToLearnerMasterLimit", "quorum.cnxn.threads.size", "jvm.pause.warn-threshold.ms",
                "multiAddress.reachabilityCheckTimeoutMs"]
FILE_SWITCHES = ["localSessionsEnabled", "localSessionsUpgradingEnabled", "quorumListenOnAllIPs", "syncEnabled",
                 "standaloneEnabled", "reconfigEnabled", "sslQuorumReloadCertFiles", "jvm.pause.monitor",
                 "multiAddress.reachabilityCheckEnabled"]
# Properties of the JVM, which stand in zoo.cfg without `zookeeper.`.
INTEGERS = ["snapCount", "globalOutstandingLimit", "maxCnxns", "request_throttle_max_requests", "throttled_op_wait_time",
            "largeRequestMaxBytes", "largeRequestThreshold", "nio.sessionlessCnxnTimeout", "electionPortBindRetry",
            "fastleader.minNotificationInterval", "fastleader.maxNotificationInterval", "jute.maxbuffer.extrasize",
            "connection_throttle_tokens", "connection_throttle_fill_time", "connection_throttle_fill_count",
            "connection_throttle_freeze_time"]
LONGS = ["snapSizeLimitInKb", "txnLogSizeLimitInKb", "fsync.warningthresholdms"]
PARSED = ["preAllocSize", "commitLogCount", "cnxTimeout"]
FRACTIONS = ["snapshotSizeFactor", "connection_throttle_drop_increase", "connection_throttle_drop_decrease",
             "connection_throttle_decrease_ratio"]
SWITCHES = ["digest.enabled", "enforceQuota", "skipACL", "forceSync", "snapshot.trust.empty", "db.autocreate",
            "datadir.autocreate", "extendedTypesEnabled", "emulate353TTLNodes", "serializeLastProcessedZxid.enabled",
            "DigestAuthenticationProvider.enabled"]
# Properties without the prefix: no line of zoo.cfg reaches them.
BARE_INTEGERS = ["jute.maxbuffer", "znode.container.checkIntervalMs", "znode.container.maxPerMinute",
                 "znode.container.maxNeverUsedIntervalMs"]
BARE = BARE_INTEGERS + ["readonlymode.enabled", "leader.nodelay", "follower.nodelay"]

NUMBER_VALUES = ["", "0", "-1", "1", "+7", "-5", "2000", "007", "0x10", "#10", "1_000", "10MB", "1e3", "2 000", "2147483647",
                 "2147483648", "99999999999999999999", "1.5"]
PROPERTY_VALUES = ["", "0", "-1", "1", "+7", "-5", "2000", "0777", "0x1F4", "-0x1F4", "#1f4", "100k", "08", "2147483647",
                   "2147483648", "1.5", "0x"]
FRACTION_VALUES = ["", "0", "-1", "0.5", ".25", "1", "1.5", "1e-3", "half", "0,5", "0.5f", "NaN"]
SWITCH_VALUES = ["", "true", "TRUE", "True", "false", "False", "yes", "no", "YES", "No", "1", "on"]

PROVIDER = "org.apache.zookeeper.server.auth."


def lines(*texts):
    return "".join(f"{text}\n" for text in texts).encode("latin-1")


def numbers_and_switches():
    for key in FILE_NUMBERS:
        base = "member" if key.endswith("Limit") else "alone"
        for value in NUMBER_VALUES:
            yield base, lines(f"{key}={value}"), []
    for key in FILE_SWITCHES:
        for value in SWITCH_VALUES:
            yield "alone", lines(f"{key}={value}"), []
    for key in INTEGERS + LONGS + PARSED:
        base = "member" if key.startswith(("fastleader", "cnx", "election")) else "alone"
        for value in PROPERTY_VALUES:
            yield base, lines(f"{key}={value}"), []
        for value in ("", "12345", "0x1F4", " 5", "many"):
            yield base, b"", [f"-Dzookeeper.{key}={value}"]
    for key in FRACTIONS:
        for value in FRACTION_VALUES:
            yield "alone", lines("connection_throttle_tokens=10", f"{key}={value}"), []
    for key in SWITCHES:
        for value in SWITCH_VALUES:
            yield "alone", lines(f"{key}={value}"), []
        yield "alone", b"", [f"-Dzookeeper.{key}=true"]
        yield "alone", b"", [f"-Dzookeeper.{key}=no"]
        yield "alone", b"", [f"-Dzookeeper.{key}"]


def without_prefix():
    for key in BARE:
        for value in ("true", "false", "2000", "0x9fffff"):
            yield "alone", lines(f"{key}={value}"), []
            yield "alone", b"", [f"-D{key}={value}"]
        yield "alone", lines(f"zookeeper.{key}=2000"), []
        yield "alone", b"", [f"-Dzookeeper.{key}=2000"]
    for key in BARE_INTEGERS:
        for value in PROPERTY_VALUES:
            yield "alone", b"", [f"-D{key}={value}"]
    for flag in ("jute.maxbuffer=047777777", "jute.maxbuffer=10MB", "jute.maxbuffer.extrasize=5000",
                 "zookeeper.jute.maxbuffer.extrasize=5000", "zookeeper.jute.maxbuffer.extrasize=5", "fsync.warningthresholdms=77",
                 "readonlymode.enabled=TRUE", "readonlymode.enabled=yes", "snapCount=5", "skipACL=yes"):
        yield "alone", b"", [f"-D{flag}"]
    yield "alone", b"", ["-Dfsync.warningthresholdms=77", "-Dzookeeper.fsync.warningthresholdms=78"]
    yield "alone", b"", ["-Dfsync.warningthresholdms=77", "-Dzookeeper.fsync.warningthresholdms=x"]
    yield "alone", lines("fsync.warningthresholdms=79"), ["-Dfsync.warningthresholdms=77"]
    yield "alone", lines("jute.maxbuffer=5000"), ["-Djute.maxbuffer=4000"]
    yield "alone", lines("jute.maxbuffer.extrasize=5000"), ["-Djute.maxbuffer=4000"]


def file_and_flags():
    """The same key in both places: the file is stronger; keys of the file count in no flag."""
    for text, flags in [
        ("snapCount=7", ["-Dzookeeper.snapCount=9"]), ("snapCount=", ["-Dzookeeper.snapCount=9"]),
        ("snapCount=7\nsnapCount=8", []), ("snapCount=7\nsnapCount=", []), ("zookeeper.snapCount=7", []),
        ("zookeeper.snapCount=7\nsnapCount=8", []), ("snapCount=8\nzookeeper.snapCount=7", []),
        ("", ["-Dzookeeper.snapCount=9", "-Dzookeeper.snapCount=11"]), ("", ["-Dzookeeper.tickTime=5"]),
        ("", ["-DtickTime=5"]), ("", ["-Dzookeeper.reconfigEnabled=true"]), ("", ["-Dzookeeper.server.1=a:1:2"]),
        ("", ["-Dzookeeper.dataDir=/other"]), ("", ["-Dzookeeper.standaloneEnabled=false"]), ("zookeeper.tickTime=5", []),
        ("zookeeper.skipACL=yes", []), ("skipACL=yes", ["-Dzookeeper.skipACL=no"]), ("", ["-Dzookeeper.skipACL=yes"]),
        ("", ["-Dzookeeper.maxClientCnxns=3"]), ("snapcount=7", []), ("SnapCount=7", []), ("skipAcl=yes", []),
        ("", ["-Dzookeeper.forceSync=no"]), ("forceSync=yes", ["-Dzookeeper.forceSync=no"]),
    ]:
        yield "alone", lines(text), flags


def texts():
    """The grammar of `java.util.Properties`."""
    head = b"dataDir=@/d\n"
    for raw in [
        b"tickTime 2000\n", b"tickTime:2000\n", b"tickTime = 2000\n", b"tickTime\t2000\n", b"tickTime\f=\f2000\n",
        b"  tickTime=2000\n", b"\ttickTime=2000\n", b"\ftickTime=2000\n", b"tickTime==2000\n", b"tickTime:=2000\n",
        b"tickTime= =2000\n", b"tickTime=2000 \n", b"tickTime=2000\t\n", b"tickTime=2000\r\n", b"tickTime=2000",
        b"#tickTime=1\ntickTime=2000\n", b"!tickTime=1\n", b"  # tickTime=1\n", b"tickTime=2000 # ms\n", b"#tick\\\ntickTime=2000\n",
        b"tickTime=20\\\n00\n", b"tickTime=20\\\n   00\n", b"tick\\\nTime=2000\n", b"tickTime=20\\\r\n00\n", b"tickTime=20\\\r00\n",
        b"tickTime=2000\\\n", b"tickTime=2000\\", b"tickTime=\\\n\n2000\n", b"tickTime=2000\\\n#x\n", b"\\\ntickTime=2000\n",
        b"\\\n#tickTime=1\n", b"\\\n\\\ntickTime=2000\n", b"tickTime=2000\\\\\n", b"tick\\Time=2000\n", b"tickTime\\=2000\n",
        b"tickTime\\:=2000\n", b"tickTime\\ =2000\n", b"\\tickTime=2000\n", b"\\u0074ickTime=2000\n", b"tickTime=\\u0032000\n",
        b"tickTime=\\u00320\\u00300\n", b"tickTime=\\u20\n", b"tickTime=\\uzzzz\n", b"x=\\u\n", b"x=\\u12\n", b"#x=\\u12\n", b"x\\u12=y\n",
        b"x=C:\\users\\zk\n", b"x=C:\\Users\\zk\n", b"tickTime=\\u+123\n", b"tickTime=\\U0032\n", b"tickTime=\\t2000\n",
        b"tickTime=2000\\n\n", b"tickTime=\xa02000\n", b"tickTime=2000\xa0\n", b"tickTime=2000\x85\n", b"tickTime=2000\x00\n",
        b"tickTime=\x002000\n", b"\xa0tickTime=2000\n", b"tickTime=2000\x0b\n", b"tickTime=\x0b2000\n", b"tickTime\x0b=2000\n",
        b"=2000\n", b":\n", b"tickTime\n", b"\n\n\ntickTime=2000\n\n", b"tickTime=1000\rtickTime=2000\r", b"tickTime=2000\n\rinitLimit=3\r",
        b"#a\rtickTime=2000\r", b"\xef\xbb\xbftickTime=2000\n", b"\x1a", b"tickTime=2000\x1a\n", b"tickTime=2000\n\x1a",
    ]:
        yield "bare", head + raw, []
    for raw in [b"\xef\xbb\xbfdataDir=@/d\n", b"\xef\xbb\xbf# dataDir\ndataDir=@/d\n", b"\xef\xbb\xbf\ndataDir=@/d\n", b"",
                b"dataDir=@/d\xc3\xa4ten\n", b"dataDir=@/d\xe4ten\n", b"dataDir=@/\xe6\x95\xb0\xe6\x8d\xae\n",
                b"dataDir=@/d\\u00e4ten\n", b"dataDir=@/\\u6570\\u636e\n", b"dataDir=@/\\ud83d\\ude00\n", b"dataDir=@/\\ud83dx\n",
                b"dataDir=@/\xc3\x85\n", b"dataDir=@/a\\tb\n", b"dataDir=@/a\\nb\n", b"dataDir=@/a b\n", b"dataDir=@/a\\ b\n",
                b"dataDir=@/a\\\\b\n", b"dataDir=@/a\\b\n", b"dataDir=@/a=b\n", b"dataDir=@/a:b\n", b"dataDir=@/d/\n",
                b"dataDir=@//d\n", b"dataDir=@/d/.\n", b"dataDir=\"@/d\"\n", b"dataDir=@/d #x\n", b"dataDir=@/\x7f\n",
                b"dataDir=\ndataLogDir=@/d\n", b"dataDir=@/d\ndataLogDir=@/l\n", b"dataDir=@/d\rdataLogDir=@/l\r",
                b"datadir=@/d\n", b"dataDir=@/one\ndataDir=@/d\n"]:
        yield "bare", raw, []


def clients():
    for text in ["clientPort=2182", "clientPort=0", "clientPort=65535", "clientPort=65536", "clientPort=-1", "clientPort=", "clientPort=x",
                 "clientPort=02182", "clientPort=+2182", "clientPort=0x885", "clientPortAddress=127.0.0.1", "clientPortAddress=[::1]",
                 "clientPortAddress=::1", "clientPortAddress=[::]", "clientPortAddress=::", "clientPortAddress=0.0.0.0",
                 "clientPortAddress=0:0:0:0:0:0:0:1", "clientPortAddress=", "clientPortAddress=localhost",
                 "clientPortAddress=no-such-host.invalid", "clientPortAddress=127.0.0.1:2181"]:
        yield "alone", lines(text), []
    for text in ["clientPortAddress=127.0.0.1", "clientPort=2181", "secureClientPortAddress=127.0.0.1"]:
        yield "bare", b"dataDir=@/d\n" + lines(text), []
    for own, text in [("", ";2181"), ("", ";127.0.0.1:2181"), ("clientPort=2181", ";2181"), ("clientPort=2182", ";2181"),
                      ("clientPort=2181\nclientPortAddress=127.0.0.1", ";2181"), ("clientPort=2181", ";127.0.0.1:2181"),
                      ("clientPort=2181\nclientPortAddress=127.0.0.1", ";127.0.0.1:2181"),
                      ("clientPort=2181\nclientPortAddress=0.0.0.0", ";127.0.0.1:2181"),
                      ("clientPort=2181\nclientPortAddress=127.0.0.2", ";127.0.0.1:2181"), ("", ""), ("clientPort=2181", "")]:
        yield "one", lines(own, f"server.1=127.0.0.1:2888:3888{text}"), []
        yield "bare", b"dataDir=@/d\n" + lines(own, f"server.1=127.0.0.1:2888:3888{text}"), []


def members():
    for text in ["127.0.0.1:2888:3888", "127.0.0.1:2888:3888:participant", "127.0.0.1:2888:3888:PARTICIPANT", "127.0.0.1:2888:3888:",
                 "127.0.0.1:2888:3888::", "127.0.0.1:2888:3888:;2181", "127.0.0.1:2888:3888;", "127.0.0.1:2888:3888;;", "127.0.0.1:2888:3888;2181;",
                 "127.0.0.1:2888:3888;2181;2182", "127.0.0.1:2888:3888;2181:", "127.0.0.1:2888:3888;:2181", "127.0.0.1:2888:3888;127.0.0.1:2181",
                 "127.0.0.1:2888:3888;127.0.0.1:2181:", "127.0.0.1:2888:3888;127.0.0.1:2181:x", "127.0.0.1:2888:3888;x",
                 "127.0.0.1:2888:3888;[::1]:2181", "127.0.0.1:2888:3888;[::1]", "127.0.0.1:2888:3888;::1:2181", "127.0.0.1:2888:3888;0",
                 "127.0.0.1:2888:3888;65536", "127.0.0.1:2888:3888;-1", "127.0.0.1:2888:3888:king", "127.0.0.1:2888:3888:participant:",
                 "127.0.0.1:2888:3888:participant:x", "127.0.0.1:2888", "127.0.0.1", "", ":2888:3888", ":2888:3888;2181", "127.0.0.1::3888",
                 "127.0.0.1:2888:", "127.0.0.1:0:0", "127.0.0.1:0:3888", "127.0.0.1:2888:0", "127.0.0.1:2888:2888", "127.0.0.1:-1:3888",
                 "127.0.0.1:2888:65536", "127.0.0.1:02888:3888", "127.0.0.1:+2888:3888", "127.0.0.1:x:3888", "[::1]:2888:3888", "[::1:2888:3888",
                 "[::1]", "[::1]:", "[::1]:2888", "::1:2888:3888", "[::1]:2888:3888:participant;2181", "[0:0:0:0:0:0:0:1]:2888:3888",
                 "a.b.invalid:2888:3888", "127.0.0.1:2888:3888|127.0.0.2:2888:3888", "127.0.0.1:2888:3888|", "|127.0.0.1:2888:3888",
                 "127.0.0.1:2888:3888 ;2181", "127.0.0.1 : 2888 : 3888", "127.0.0.1:2888:3888; 2181", " 127.0.0.1:2888:3888",
                 "127.0.0.1:2888:3888:observer"]:
        yield "one", lines(f"server.1={text}"), []
    for text in ["server.2=127.0.0.1:2889:2889", "server.2=127.0.0.1:2889:3889:observer", "server.4=127.0.0.1:0:0", "server.4=127.0.0.1:1:1",
                 "server.4=127.0.0.1:1:2:", "server.4=127.0.0.1:1", "server.=127.0.0.1:1:2", "server.x=127.0.0.1:1:2", "server.-1=127.0.0.1:1:2",
                 "server.0=127.0.0.1:1:2", "server.255=127.0.0.1:1:2", "server.99999999999999999999=127.0.0.1:1:2", "server.4 =127.0.0.1:1:2",
                 "server4=127.0.0.1:1:2", "Server.4=127.0.0.1:1:2", "server.4=127.0.0.1:2888:3888", "server.2=\nserver.3=",
                 "peerType=observer", "peerType=participant", "peerType=Observer", "peerType=king", "peerType=", "electionAlg=3", "electionAlg=03",
                 "electionAlg=", "electionAlg=0", "electionAlg=1", "electionAlg=x", "extendedTypesEnabled=true", "standaloneEnabled=false",
                 "initLimit=", "initLimit=0", "syncLimit=0", "syncLimit=-1", "version=abc", "version=xyz", "dynamicConfigFile=",
                 "dynamicConfigFile=@/missing", "syncEnabled=maybe", "syncEnabled=", "clientPort=2182",
                 "multiAddress.enabled=maybe", "quorum.cnxn.threads.size=x"]:
        yield "member", lines(text), []
    for text in ["group.1=1:2:3", "group.1=1:2:3:", "group.1=1:2:3::", "group.1=:1:2:3", "group.1=", "group.1=1:2", "group.1=1:2:3:4", "group.1=1:2\ngroup.2=3",
                 "group.1=1:2:3\ngroup.2=3", "group.1=1:2:3\nweight.1=2", "group.1=1:2:3\nweight.1=0", "group.1=1:2:3\nweight.1=",
                 "group.1=1:2:3\nweight.1=x", "group.1=1:2:3\nweight.1=-1", "weight.1=1", "group.x=1:2:3", "groups=1:2:3", "group.1=1, 2, 3", "group.1=1:1:2:3"]:
        yield "member", lines(text), []
    for text in ["", "server.1=127.0.0.1:2888:3888:observer", "server.1=127.0.0.1:2888:3888\nserver.2=127.0.0.1:2889:3889:observer",
                 "server.2=127.0.0.1:2889:3889", "server.1=127.0.0.1:2888:3888\nserver.2=127.0.0.1:2889:3889\nextendedTypesEnabled=true"]:
        yield "one", lines(text), []
        yield "bare", b"dataDir=@/d\n" + lines(text), []


def dynamic_files():
    two = "server.1=127.0.0.1:2888:3888;2181\nserver.2=127.0.0.1:2889:3889;2182"
    for text in [two, f"{two}\nversion=1f", f"{two}\nversion=", f"{two}\ntickTime=1", f"{two}\nbogus", f"{two}\n# comment", f"{two}\ngroup.1=1:2",
                 "", "# nothing", "server.1=127.0.0.1:2888:2888;2181", "server.1=127.0.0.1:2888:3888", two.replace("=", " "),
                 two.replace("\n", "\r"), f"{two}\nx=\\u12"]:
        yield "dynamic", lines(text), []


def security():
    yield from (("alone", lines(text), []) for text in [
        f"DigestAuthenticationProvider.digestAlg={name}" for name in ["SHA1", "SHA-1", "SHA", "sha1", "SHA-256", "sha-256", "SHA256", "SHA-512", "SHA3-256",
                                                                     "SHA-384", "SHA-224", "SHA3-512", "SHA-512/256", "MD5", "", "rot13"]])
    for text in ["DigestAuthenticationProvider.superDigest=super:xyz=", "X509AuthenticationProvider.superUser=CN=root,O=a",
                 f"authProvider.1={PROVIDER}X509AuthenticationProvider", f"authProvider.x={PROVIDER}IPAuthenticationProvider",
                 f"authProvider.x={PROVIDER}DigestAuthenticationProvider\nDigestAuthenticationProvider.enabled=false",
                 "authProvider.1=no.such.Class", "authProvider.1=", "enforce.auth.enabled=true", "enforce.auth.enabled=true\nenforce.auth.schemes=digest",
                 "enforce.auth.enabled=TRUE\nenforce.auth.schemes=digest, ip", "enforce.auth.enabled=yes\nenforce.auth.schemes=digest",
                 "enforce.auth.schemes=digest", "enforce.auth.enabled=false", "enforce.auth.enabled=true\nenforce.auth.schemes=",
                 "quorum.auth.enableSasl=false", "quorum.auth.enableSasl=no", "quorum.auth.serverRequireSasl=true", "sslQuorum=false", "sslQuorum=no",
                 "portUnification=false", "portUnification=maybe", "secureClientPort=x", "4lw.commands.whitelist=*", "4lw.commands.whitelist=ruok, stat",
                 "4lw.commands.whitelist=", "4lw.commands.whitelist=ruok,*", "4lw.commands.whitelist=RUOK", "4lw.commands.whitelist=ruok;stat",
                 "snapshot.compression.method=gz", "snapshot.compression.method=GZ", "snapshot.compression.method=snappy",
                 "snapshot.compression.method=checked", "snapshot.compression.method=zstd", "snapshot.compression.method="]:
        yield "alone", lines(text), []
    yield "alone", b"4lw.commands.whitelist=ruok\n", ["-Dreadonlymode.enabled=true"]
    for text in ["connection_throttle_weight_enabled=true", "connection_throttle_weight_enabled=yes",
                 "connection_throttle_weight_enabled=true\nconnection_throttle_local_session_weight=5",
                 "connection_throttle_weight_enabled=true\nconnection_throttle_global_session_weight=0",
                 "connection_throttle_weight_enabled=true\nconnection_throttle_renew_session_weight=-1\nconnection_throttle_local_session_weight=0",
                 "connection_throttle_global_session_weight=9"]:
        yield "alone", lines("connection_throttle_tokens=10", text), []


def all_cases():
    """Base, lines (bytes) and flags of each case; the bases themselves come first."""
    seen = set()
    every = [(base, b"", []) for base in BASES]
    for group in (numbers_and_switches, without_prefix, file_and_flags, texts, clients, members, dynamic_files, security):
        every += group()
    for base, text, flags in every:
        key = (base, text, tuple(flags))
        if key not in seen:
            seen.add(key)
            yield base, text, flags

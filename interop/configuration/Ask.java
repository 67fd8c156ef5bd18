import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.InetSocketAddress;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * Asks Apache ZooKeeper what counts in a configuration. Each line of the input is a case: a zoo.cfg, a dynamic file
 * (or "-") and JVM flags, all percent-encoded and parted by tabs. Each case gets its classes anew, as static fields
 * remember what was read first; nothing is served. Arguments: a directory for files, and the jars.
 */
public class Ask {
    static final Properties PLAIN = System.getProperties();

    public static void main(String[] args) throws Exception {
        Path home = Path.of(args[0]).toRealPath();
        List<URL> jars = new ArrayList<>();
        for (String jar : args[1].split(File.pathSeparator)) {
            jars.add(new File(jar).toURI().toURL());
        }
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        PrintStream output = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line; (line = input.readLine()) != null; ) {
            String[] parts = line.split("\t", -1);
            Files.createDirectories(home.resolve("d"));
            Files.writeString(home.resolve("d/myid"), "1");
            Files.write(home.resolve("zoo.cfg"), placed(decode(parts[0]), home));
            if (!parts[1].equals("-")) {
                Files.write(home.resolve("zoo.cfg.dynamic"), placed(decode(parts[1]), home));
            }
            Properties properties = new Properties();
            properties.putAll(PLAIN);
            for (String flag : parts[2].split(" ")) {
                if (!flag.isEmpty()) {
                    String[] setting = text(decode(flag)).substring(2).split("=", 2);
                    properties.setProperty(setting[0], setting.length == 2 ? setting[1] : "");
                }
            }
            System.setProperties(properties);
            StringBuilder answer = new StringBuilder();
            try (URLClassLoader loader = new URLClassLoader(jars.toArray(new URL[0]), ClassLoader.getPlatformClassLoader())) {
                Thread.currentThread().setContextClassLoader(loader);
                answer.append(new Ask(loader, home).ask());
            }
            output.println(answer);
            System.setProperties(PLAIN);
            erase(home.toFile());
        }
        System.exit(0);
    }

    final ClassLoader loader;
    final Path home;
    final Map<String, String> values = new TreeMap<>();
    String failed = null;

    Ask(ClassLoader loader, Path home) {
        this.loader = loader;
        this.home = home;
    }

    String ask() throws Exception {
        Object config = make("server.quorum.QuorumPeerConfig");
        try {
            call(config, "parse", new Class<?>[] {String.class}, home.resolve("zoo.cfg").toString());
        } catch (Exception e) {
            return "refused\t" + encode(reason(e));
        }
        part("config", () -> ofTheFile(config));
        part("jute", () -> {
            put("jute.maxbuffer", get("org.apache.jute.BinaryInputArchive", null, "maxBuffer"));
            put("jute.maxbuffer.extrasize", get("org.apache.jute.BinaryInputArchive", null, "extraMaxBuffer"));
        });
        part("log", this::ofTheLog);
        part("server", this::ofTheServer);
        part("auth", this::ofAuthentication);
        part("throttle", this::ofTheThrottle);
        part("connections", this::ofConnections);
        if ((boolean) call(config, "isDistributed", new Class<?>[0])) {
            part("election", this::ofTheElection);
        }
        part("main", this::ofTheMainProgram);
        if (failed != null) {
            return "fails\t" + encode(failed);
        }
        StringBuilder all = new StringBuilder("ok");
        values.forEach((key, value) -> all.append('\t').append(key).append('=').append(encode(value)));
        return all.toString();
    }

    void ofTheFile(Object config) throws Exception {
        for (String name : List.of("dataDir", "dataLogDir", "clientPortListenBacklog", "tickTime", "maxClientCnxns",
                "minSessionTimeout", "maxSessionTimeout", "localSessionsEnabled", "localSessionsUpgradingEnabled", "initLimit",
                "syncLimit", "quorumListenOnAllIPs", "observerMasterPort", "serverId")) {
            put(name, get(config.getClass().getName(), config, name));
        }
        put("reconfigEnabled", get(config.getClass().getName(), null, "reconfigEnabled"));
        put("standaloneEnabled", get(config.getClass().getName(), null, "standaloneEnabled"));
        put("autopurge.snapRetainCount", get(config.getClass().getName(), config, "snapRetainCount"));
        put("autopurge.purgeInterval", get(config.getClass().getName(), config, "purgeInterval"));
        InetSocketAddress client = (InetSocketAddress) get(config.getClass().getName(), config, "clientPortAddress");
        put("clientPort", client == null ? "none" : client.getPort());
        put("clientPortAddress", client == null ? "none" : client.getAddress() == null ? client.getHostString()
            : client.getAddress().isAnyLocalAddress() ? "any" : client.getAddress().getHostAddress());
        put("distributed", call(config, "isDistributed", new Class<?>[0]));
        Object verifier = get(config.getClass().getName(), config, "quorumVerifier");
        String[] lines = verifier.toString().split("\n");
        Arrays.sort(lines);
        put("members", String.join("\n", lines));
    }

    void ofTheLog() throws Exception {
        Path at = home.resolve("files");
        Files.createDirectories(at);
        Object log = type("server.persistence.FileTxnLog").getConstructor(File.class).newInstance(at.toFile());
        put("forceSync", get("server.persistence.FileTxnLog", log, "forceSync"));
        put("fsync.warningthresholdms", get("server.persistence.FileTxnLog", null, "fsyncWarningThresholdMS"));
        put("txnLogSizeLimitInKb", (long) get("server.persistence.FileTxnLog", null, "txnLogSizeLimit"));
        put("preAllocSize", (long) get("server.persistence.FilePadding", null, "preAllocSize") / 1024);
        put("snapshot.compression.method", call(get("server.persistence.SnapStream", null, "streamMode"), "getName", new Class<?>[0]));
        Class<?> files = type("server.persistence.FileTxnSnapLog");
        boolean creates = true;
        try {
            Path none = home.resolve("none");
            files.getConstructor(File.class, File.class).newInstance(none.toFile(), none.toFile());
        } catch (InvocationTargetException e) {
            creates = false;
        }
        put("datadir.autocreate", creates);
        Files.createDirectories(at.resolve("version-2"));
        Object both = files.getConstructor(File.class, File.class).newInstance(at.toFile(), at.toFile());
        put("snapshot.trust.empty", get(files.getName(), both, "trustEmptySnapshot"));
        put("db.autocreate", get(files.getName(), both, "autoCreateDB"));
        Object database = type("server.ZKDatabase").getConstructor(files).newInstance(both);
        put("commitLogCount", get("server.ZKDatabase", database, "commitLogCount"));
        put("snapshotSizeFactor", get("server.ZKDatabase", database, "snapshotSizeFactor"));
    }

    void ofTheServer() throws Exception {
        Class<?> server = type("server.ZooKeeperServer");
        put("snapCount", call(server, null, "getSnapCount"));
        put("snapSizeLimitInKb", (long) call(server, null, "getSnapSizeInBytes") / 1024);
        for (String[] name : new String[][] {{"skipACL", "skipACL"}, {"enforceQuota", "enforceQuota"}, {"digest.enabled", "digestEnabled"},
                {"serializeLastProcessedZxid.enabled", "serializeLastProcessedZxidEnabled"}, {"throttled_op_wait_time", "throttledOpWaitTime"}}) {
            put(name[0], get(server.getName(), null, name[1]));
        }
        Object one = server.getConstructor().newInstance();
        call(server, one, "initLargeRequestThrottlingSettings");
        put("largeRequestMaxBytes", call(server, one, "getLargeRequestMaxBytes"));
        put("largeRequestThreshold", call(server, one, "getLargeRequestThreshold"));
        put("globalOutstandingLimit", call(server, one, "getGlobalOutstandingLimit"));
        put("request_throttle_max_requests", get("server.RequestThrottler", null, "maxRequests"));
        put("extendedTypesEnabled", call(type("server.EphemeralType"), null, "extendedEphemeralTypesEnabled"));
        call(type("server.command.FourLetterCommands"), null, "isEnabled", new Class<?>[] {String.class}, "ruok");
        Collection<?> words = (Collection<?>) get("server.command.FourLetterCommands", null, "whiteListedCommands");
        List<String> sorted = new ArrayList<>();
        words.forEach(word -> sorted.add(word.toString()));
        put("4lw.commands.whitelist", String.join(",", new TreeSet<>(sorted)));
    }

    void ofAuthentication() throws Exception {
        Class<?> registry = type("server.auth.ProviderRegistry");
        call(registry, null, "initialize");
        for (String scheme : List.of("digest", "x509")) {
            Object provider = call(registry, null, "getProvider", new Class<?>[] {String.class}, scheme);
            put("scheme." + scheme, provider != null);
        }
        Class<?> digest = type("server.auth.DigestAuthenticationProvider");
        put("DigestAuthenticationProvider.digestAlg", hash(digest));
        Object root = get(digest.getName(), null, "superDigest");
        put("DigestAuthenticationProvider.superDigest", root == null ? "none" : root);
        Object helper = make("server.AuthenticationHelper");
        boolean enforced = (boolean) get("server.AuthenticationHelper", helper, "enforceAuthEnabled");
        List<?> schemes = (List<?>) get("server.AuthenticationHelper", helper, "enforceAuthSchemes");
        List<String> names = new ArrayList<>();
        schemes.forEach(name -> names.add(name.toString()));
        put("enforce.auth.schemes", enforced ? String.join(",", names) : "none");
    }

    /** Other methods of this class name types that are in no jar here: reflection would look for them. */
    static String hash(Class<?> digest) throws Exception {
        try {
            return (String) MethodHandles.publicLookup()
                .findStatic(digest, "generateDigest", MethodType.methodType(String.class, String.class)).invoke("u:p");
        } catch (Throwable e) {
            throw new Exception(e);
        }
    }

    void ofTheThrottle() throws Exception {
        Object throttle = make("server.BlueThrottle");
        for (String[] name : new String[][] {{"tokens", "maxTokens"}, {"fill_time", "fillTime"}, {"fill_count", "fillCount"},
                {"freeze_time", "freezeTime"}, {"drop_increase", "dropIncrease"}, {"drop_decrease", "dropDecrease"},
                {"decrease_ratio", "decreasePoint"}}) {
            put("connection_throttle_" + name[0], get("server.BlueThrottle", throttle, name[1]));
        }
        boolean weighed = (boolean) get("server.BlueThrottle", null, "connectionWeightEnabled");
        for (String kind : List.of("global", "renew", "local")) {
            String field = "DEFAULT_" + kind.toUpperCase() + "_SESSION_WEIGHT";
            put("connection_throttle_" + kind + "_session_weight", weighed ? get("server.BlueThrottle", null, field) : 1);
        }
    }

    void ofConnections() throws Exception {
        Object factory = make("server.NIOServerCnxnFactory");
        Class<?>[] types = {InetSocketAddress.class, int.class, int.class, boolean.class};
        call(factory, "configure", types, new InetSocketAddress("127.0.0.1", 0), 60, -1, false);
        put("nio.sessionlessCnxnTimeout", get("server.NIOServerCnxnFactory", factory, "sessionlessCnxnTimeout"));
        put("maxCnxns", get("server.ServerCnxnFactory", factory, "maxCnxns"));
        call(factory, "shutdown", new Class<?>[0]);
    }

    void ofTheElection() throws Exception {
        put("fastleader.minNotificationInterval", get("server.quorum.FastLeaderElection", null, "minNotificationInterval"));
        put("fastleader.maxNotificationInterval", get("server.quorum.FastLeaderElection", null, "maxNotificationInterval"));
        Object manager = Arrays.stream(type("server.quorum.QuorumCnxManager").getConstructors()).findFirst().get()
            .newInstance(null, 1L, Map.of(), null, null, 1000, false, 20, false);
        put("cnxTimeout", get("server.quorum.QuorumCnxManager", manager, "cnxTO"));
        Object listener = get("server.quorum.QuorumCnxManager", manager, "listener");
        put("electionPortBindRetry", get(listener.getClass().getName(), listener, "portBindMaxRetry"));
        call(manager, "halt", new Class<?>[0]);
    }

    /** What the main programs read by themselves, word for word as they do. */
    void ofTheMainProgram() {
        put("readonlymode.enabled", Boolean.getBoolean("readonlymode.enabled"));
        put("emulate353TTLNodes", Boolean.getBoolean("zookeeper.emulate353TTLNodes"));
        int interval = Integer.getInteger("znode.container.checkIntervalMs", 60_000);
        if (interval <= 0) {
            throw new IllegalArgumentException("Non-positive period.");
        }
        put("znode.container.checkIntervalMs", interval);
        put("znode.container.maxPerMinute", Integer.getInteger("znode.container.maxPerMinute", 10000));
        put("znode.container.maxNeverUsedIntervalMs", Long.getLong("znode.container.maxNeverUsedIntervalMs", 0));
        String user = System.getProperty("zookeeper.X509AuthenticationProvider.superUser");
        put("X509AuthenticationProvider.superUser", user == null ? "none" : user);
    }

    interface Reader {
        void read() throws Exception;
    }

    void part(String name, Reader reader) {
        try {
            reader.read();
        } catch (Throwable e) {
            failed = failed == null ? name + ": " + reason(e) : failed;
        }
    }

    void put(String key, Object value) {
        values.put(key, String.valueOf(value).replace(home.toString(), "@"));
    }

    Class<?> type(String name) throws Exception {
        return loader.loadClass(name.startsWith("org.") ? name : "org.apache.zookeeper." + name);
    }

    Object make(String name) throws Exception {
        return type(name).getConstructor().newInstance();
    }

    Object get(String type, Object object, String field) throws Exception {
        Class<?> at = type(type);
        while (at != null) {
            try {
                Field found = at.getDeclaredField(field);
                found.setAccessible(true);
                return found.get(object);
            } catch (NoSuchFieldException e) {
                at = at.getSuperclass();
            }
        }
        throw new NoSuchFieldException(field);
    }

    Object call(Object object, String name, Class<?>[] types, Object... arguments) throws Exception {
        return call(object.getClass(), object, name, types, arguments);
    }

    Object call(Class<?> type, Object object, String name) throws Exception {
        return call(type, object, name, new Class<?>[0]);
    }

    Object call(Class<?> type, Object object, String name, Class<?>[] types, Object... arguments) throws Exception {
        NoSuchMethodException none = null;
        for (Class<?> at = type; at != null; at = at.getSuperclass()) {
            try {
                Method method = at.getDeclaredMethod(name, types);
                method.setAccessible(true);
                return method.invoke(object, arguments);
            } catch (NoSuchMethodException e) {
                none = e;
            }
        }
        throw none;
    }

    static String reason(Throwable e) {
        Throwable deepest = e;
        while (deepest.getCause() != null) {
            deepest = deepest.getCause();
        }
        return deepest.toString();
    }

    static byte[] decode(String text) {
        byte[] plain = new byte[text.length()];
        int length = 0;
        for (int i = 0; i < text.length(); i++, length++) {
            if (text.charAt(i) == '%') {
                plain[length] = (byte) Integer.parseInt(text.substring(i + 1, i + 3), 16);
                i += 2;
            } else {
                plain[length] = (byte) text.charAt(i);
            }
        }
        return Arrays.copyOf(plain, length);
    }

    static String encode(String text) {
        StringBuilder all = new StringBuilder();
        for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
            if (b < ' ' || b > '~' || b == '%') {
                all.append(String.format("%%%02X", b & 0xff));
            } else {
                all.append((char) b);
            }
        }
        return all.toString();
    }

    static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.ISO_8859_1);
    }

    /** With the directory in place of its mark. */
    static byte[] placed(byte[] file, Path home) {
        return text(file).replace("@", home.toString()).getBytes(StandardCharsets.ISO_8859_1);
    }

    static void erase(File dir) {
        for (File file : dir.listFiles()) {
            if (file.isDirectory()) {
                erase(file);
            }
            file.delete();
        }
    }
}

import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.curator.RetryPolicy;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryUntilElapsed;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/**
 * A program of several clients that uses one recipe while members die, and what must hold.
 *
 * <p>Sessions are long and members are never away for as long: a session that is lost is itself
 * a failure, except where a program ended it. So two holders of one lock, seen from inside one
 * process, were not separated by an expired session: the lock was held twice.
 */
abstract class Program {
    static final int SESSION_MS = 40_000;
    private static final int CONNECT_MS = 10_000;

    static String connect;
    static long seed;
    static volatile boolean over; // work no more, check

    /** How often a connection was lost, all clients of this program. */
    final AtomicInteger suspensions = new AtomicInteger();

    /** How often Curator gave up a session that the servers still held. */
    private final AtomicInteger givenUp = new AtomicInteger();
    /** How often a recipe did not learn the path of a node that it made, and left it behind. */
    final AtomicInteger withoutPath = new AtomicInteger();
    private final List<CuratorFramework> clients = Collections.synchronizedList(new ArrayList<>());
    private final Set<CuratorFramework> ended = ConcurrentHashMap.newKeySet();
    private final List<Thread> workers = new ArrayList<>();
    private volatile Throwable broken;

    /** What a worker does, once; called again until the members are left in peace. */
    interface Step {
        void run() throws Exception;
    }

    /** What must become true. */
    interface Condition {
        boolean holds() throws Exception;
    }

    /** Makes clients, nodes and workers. */
    abstract void prepare() throws Exception;

    /** Called when the members are left in peace and all workers have returned; says what it saw. */
    abstract String check() throws Exception;

    final String name() {
        return getClass().getSimpleName();
    }

    /** A path below this program's own node. */
    final String at(String rest) {
        return "/recipes/" + name() + rest;
    }

    final Random random(int worker) {
        return new Random(seed * 31 + name().hashCode() * 7L + worker);
    }

    /** A client that tries again for half a minute. */
    final CuratorFramework client() throws Exception {
        return client(new RetryUntilElapsed(30_000, 50), false);
    }

    /**
     * A client that sends each request once: what became of it may stay unknown. Curator may also
     * give up such a client's session by itself, without word from a server.
     */
    final CuratorFramework clientWithoutRetry() throws Exception {
        return client((count, elapsed, sleeper) -> false, true);
    }

    private CuratorFramework client(RetryPolicy retry, boolean mayGiveUp) throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.builder().connectString(connect)
                .sessionTimeoutMs(SESSION_MS).connectionTimeoutMs(CONNECT_MS).retryPolicy(retry).build();
        AtomicReference<ZooKeeper> handle = new AtomicReference<>();
        client.getConnectionStateListenable().addListener((who, state) -> {
            if (state == ConnectionState.SUSPENDED) {
                suspensions.incrementAndGet();
            }
            if (state == ConnectionState.LOST && !ended.contains(who)) {
                ZooKeeper before = handle.get();
                new Thread(() -> lost(before, mayGiveUp), name() + "-lost").start();
            } else if (state.isConnected()) {
                try {
                    handle.set(who.getZookeeperClient().getZooKeeper());
                } catch (Exception gone) {
                    broken(gone);
                }
            }
        });
        client.start();
        if (!client.blockUntilConnected(30, TimeUnit.SECONDS)) {
            throw new IllegalStateException("no connection within 30 s");
        }
        clients.add(client);
        return client;
    }

    /** A client takes its session for lost: so must the servers. */
    private void lost(ZooKeeper handle, boolean mayGiveUp) {
        try {
            if (mayGiveUp && handle != null && twin(handle)) {
                givenUp.incrementAndGet();
            } else {
                broken(new AssertionError("a session was lost that nobody ended"));
            }
        } catch (Exception failure) {
            broken(failure);
        }
    }

    /** Makes the server end this client's session behind its back, as an expiry does. */
    final void endSession(CuratorFramework client) throws Exception {
        ended.add(client);
        twin(client.getZookeeperClient().getZooKeeper());
    }

    /** Takes a session over and closes it; whether the servers knew it. */
    private static boolean twin(ZooKeeper own) throws Exception {
        CountDownLatch answered = new CountDownLatch(1);
        AtomicBoolean known = new AtomicBoolean();
        ZooKeeper twin = new ZooKeeper(connect, SESSION_MS, event -> {
            known.compareAndSet(false, event.getState() == Watcher.Event.KeeperState.SyncConnected);
            if (known.get() || event.getState() == Watcher.Event.KeeperState.Expired) {
                answered.countDown();
            }
        }, own.getSessionId(), own.getSessionPasswd());
        answered.await(20, TimeUnit.SECONDS);
        twin.close();
        return known.get();
    }

    /** Closes clients before the end of the program. */
    final void close(List<CuratorFramework> some) {
        ended.addAll(some);
        some.forEach(CuratorFramework::close);
    }

    final void worker(Step step) {
        Thread thread = new Thread(() -> {
            while (!over && broken == null) {
                try {
                    step.run();
                } catch (KeeperException.ConnectionLossException | KeeperException.SessionExpiredException broke) {
                    // The step goes on or begins again: what must hold, holds all the same. Whether
                    // the session is really lost, is seen to where its client says so.
                } catch (Throwable failure) {
                    if (isWithoutPath(failure)) {
                        withoutPath.incrementAndGet();
                        failure.printStackTrace();
                    } else {
                        broken(failure);
                    }
                }
            }
        }, name() + "-" + workers.size());
        thread.setDaemon(true);
        workers.add(thread);
    }

    /**
     * Whether a recipe stumbled over a null in place of the path of the node that it made: seen
     * when the connection broke before the answer, with no answer from a server in sight. The
     * recipe did not get its lock then.
     */
    private static boolean isWithoutPath(Throwable failure) {
        return (failure instanceof NullPointerException || failure instanceof IllegalArgumentException)
                && failure.getStackTrace().length > 0
                && failure.getStackTrace()[0].getClassName().startsWith("org.apache.curator.");
    }

    final void start() {
        workers.forEach(Thread::start);
    }

    final void require(boolean condition, String what) {
        if (!condition) {
            AssertionError error = new AssertionError(what);
            broken(error);
            throw error;
        }
    }

    private synchronized void broken(Throwable failure) {
        if (broken == null) {
            broken = failure;
            System.err.println(Instant.now() + " " + name() + ", " + Thread.currentThread().getName());
            failure.printStackTrace();
        }
    }

    /** Waits for the workers, checks, closes; prints the result. */
    final void finish(long deadline) {
        String text = "";
        for (Thread thread : workers) {
            try {
                thread.join(Math.max(1, TimeUnit.NANOSECONDS.toMillis(deadline - System.nanoTime())));
            } catch (InterruptedException never) {
                broken(never);
            }
            if (thread.isAlive()) {
                AssertionError stuck = new AssertionError(thread.getName() + " does not come back");
                stuck.setStackTrace(thread.getStackTrace());
                broken(stuck);
            }
        }
        if (broken == null) {
            try {
                text = check();
            } catch (Throwable failure) {
                broken(failure);
            }
        }
        if (broken != null) {
            text = broken.toString();
        }
        System.out.println((broken == null ? "ok" : "failed") + "\t" + name() + "\t"
                + text.replace('\n', ' ') + ", " + suspensions + " connections lost"
                + (givenUp.get() > 0 ? ", " + givenUp + " sessions given up by Curator" : "")
                + (withoutPath.get() > 0 ? ", " + withoutPath + " creations without a path" : ""));
    }

    /**
     * What was written before this call is seen after it. Curator's own sync does not wait for its
     * answer, and a read that follows may go to another server before it.
     */
    static void sync(CuratorFramework client) throws Exception {
        CompletableFuture<Integer> code = new CompletableFuture<>();
        client.sync().inBackground((who, event) -> code.complete(event.getResultCode())).forPath("/");
        if (code.get(60, TimeUnit.SECONDS) != KeeperException.Code.OK.intValue()) {
            throw KeeperException.create(KeeperException.Code.get(code.get()));
        }
    }

    /** Again and again, until no lost connection interrupts it. */
    static void untilDone(Step step) throws Exception {
        while (true) {
            try {
                step.run();
                return;
            } catch (KeeperException.ConnectionLossException interrupted) {
                // again
            }
        }
    }

    /** Waits until it holds; fails after 30 s. */
    final void within30s(String what, Condition condition) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (true) {
            try {
                if (condition.holds()) {
                    return;
                }
            } catch (KeeperException.ConnectionLossException | KeeperException.SessionExpiredException broke) {
                // asked again
            }
            require(System.nanoTime() < deadline, "not within 30 s: " + what);
            Thread.sleep(20);
        }
    }

    static byte[] bytes(Object text) {
        return String.valueOf(text).getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] data) {
        return new String(data, StandardCharsets.UTF_8);
    }

    /** Creates a persistent node, its parents too, whatever is there already. */
    final String node(CuratorFramework client, String path, Object data) throws Exception {
        try {
            client.create().creatingParentsIfNeeded().forPath(path, bytes(data));
        } catch (KeeperException.NodeExistsException again) {
            client.setData().forPath(path, bytes(data));
        }
        return path;
    }

    /** The number that a node begins with, as of now. */
    final long number(CuratorFramework client, String path) throws Exception {
        sync(client);
        return Long.parseLong(text(client.getData().forPath(path)).split(" ")[0]);
    }

    /**
     * Adds one to the number in a node, exactly once, whatever is interrupted: the value carries a
     * token. Only for who holds a lock on it: a write of somebody else is a failure.
     */
    final void addOne(CuratorFramework client, String path, String token) throws Exception {
        String before = null;
        while (true) {
            try {
                Stat stat = new Stat();
                String value = text(client.getData().storingStatIn(stat).forPath(path));
                if (value.endsWith(" " + token)) {
                    return;
                }
                require(before == null || before.equals(value), "somebody else wrote while the lock was held");
                before = value;
                long next = Long.parseLong(value.split(" ")[0]) + 1;
                client.setData().withVersion(stat.getVersion()).forPath(path, bytes(next + " " + token));
                return;
            } catch (KeeperException.BadVersionException | KeeperException.ConnectionLossException unknown) {
                // The next read shows whether it was written.
            }
        }
    }
}

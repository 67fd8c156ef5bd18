import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/**
 * Watches of ZooKeeper's own client: a change after a one-shot watch was set is told, though the
 * client has moved to another member since; a persistent watch stays until it is removed.
 */
final class JavaWatches extends Program {
    private static final int WATCHERS = 3;
    private final AtomicInteger told = new AtomicInteger();
    private final AtomicLong value = new AtomicLong();
    private final ZooKeeper[] sessions = new ZooKeeper[WATCHERS];
    private final AtomicInteger[] persistent = new AtomicInteger[WATCHERS];
    /**
     * Where the persistent watches are. Before 3.9 a server knows one mode for a session and a path: with
     * {@code -DmodesApart=true} they are on another path than the one-shot watches.
     */
    private final String persistentAt = at(Boolean.getBoolean("modesApart") ? "" : "/tree");
    private ZooKeeper writer;
    private int writes;

    /** One event of one path, waited for. */
    private static final class Once implements Watcher {
        private final CountDownLatch event = new CountDownLatch(1);
        private volatile WatchedEvent what;

        @Override
        public void process(WatchedEvent now) {
            if (now.getType() != Event.EventType.None) {
                what = now;
                event.countDown();
            }
        }
    }

    @Override
    void prepare() throws Exception {
        writer = session(event -> { });
        node(client(), at("/tree/node"), 0);
        for (int i = 0; i < WATCHERS; i++) {
            int own = i;
            sessions[i] = session(event -> { });
            persistent[i] = new AtomicInteger();
            sessions[i].addWatch(persistentAt, event -> {
                if (event.getType() != Watcher.Event.EventType.None) {
                    require(event.getPath().startsWith(persistentAt), "an event of " + event.getPath());
                    persistent[own].incrementAndGet();
                }
            }, AddWatchMode.PERSISTENT_RECURSIVE);
            worker(() -> watch(sessions[own], false));
            worker(() -> watch(sessions[own], true));
        }
        worker(() -> {
            Thread.sleep(20);
            try {
                if (writes % 5 == 4) {
                    writer.delete(at("/tree/node"), -1);
                    writes++;
                    writer.create(at("/tree/node"), bytes(0), ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
                } else {
                    writer.setData(at("/tree/node"), bytes(value.incrementAndGet()), -1);
                }
            } catch (KeeperException.NoNodeException gone) {
                writer.create(at("/tree/node"), bytes(0), ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            } catch (KeeperException.NodeExistsException there) {
                // the creation whose answer was lost
            }
            writes++;
        });
    }

    private static ZooKeeper session(Watcher watcher) throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper session = new ZooKeeper(connect, SESSION_MS, event -> {
            if (event.getState() == Watcher.Event.KeeperState.SyncConnected) {
                connected.countDown();
            }
            watcher.process(event);
        });
        if (!connected.await(30, TimeUnit.SECONDS)) {
            throw new IllegalStateException("no connection within 30 s");
        }
        return session;
    }

    /** The node and its parent's children change all the time: whoever watches them is told soon. */
    private void watch(ZooKeeper session, boolean children) throws Exception {
        Once once = new Once();
        Stat before = look(session, children, once);
        boolean came = false;
        for (int i = 0; i < 60 && !came; i++) {
            came = once.event.await(1, TimeUnit.SECONDS);
            if (!came && i % 3 == 2 && session.getState().isConnected()) {
                // Nothing came: then nothing must have happened, as far as this session can see.
                Stat now = look(session, children, null);
                boolean changed = before == null ? now != null : now == null || (children
                        ? now.getPzxid() != before.getPzxid() : now.getMzxid() != before.getMzxid());
                require(!changed || once.event.await(5, TimeUnit.SECONDS), "a watch was lost");
            }
            if (over) {
                return;
            }
        }
        require(came, "nothing was written for a minute");
        Watcher.Event.EventType type = once.what.getType();
        if (children) {
            require(type == Watcher.Event.EventType.NodeChildrenChanged, type + " of a watch of children");
        } else {
            require(before != null == (type != Watcher.Event.EventType.NodeCreated),
                    type + " of a node that was " + (before == null ? "not " : "") + "there");
        }
        told.incrementAndGet();
    }

    private Stat look(ZooKeeper session, boolean children, Watcher watcher) throws Exception {
        if (!children) {
            return session.exists(at("/tree/node"), watcher);
        }
        Stat stat = new Stat();
        session.getChildren(at("/tree"), watcher, stat);
        return stat;
    }

    @Override
    String check() throws Exception {
        require(told.get() > 0, "no watch fired");
        List<Integer> counts = new ArrayList<>();
        if (writer.exists(at("/tree/node"), false) == null) {
            writer.create(at("/tree/node"), bytes(0), ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        }
        for (int i = 0; i < WATCHERS; i++) {
            int own = i;
            counts.add(persistent[i].get());
            require(persistent[i].get() > 0, "a persistent watch never fired");
            // It is there still, wherever its client is now; and is not, once it is removed.
            int before = persistent[i].get();
            writer.setData(at("/tree/node"), bytes("last" + i), -1);
            within30s("a persistent watch fires again", () -> persistent[own].get() > before);
            sessions[i].removeAllWatches(persistentAt, Watcher.WatcherType.Any, false);
            Thread.sleep(100); // for events that came before
            int removed = persistent[i].get();
            writer.setData(at("/tree/node"), bytes("after" + i), -1);
            sessions[i].exists(at("/tree/node"), false);
            Thread.sleep(200);
            require(persistent[own].get() == removed, "a removed watch fires");
        }
        return writes + " writes, " + told + " one-shot watches fired, persistent ones " + counts + " times";
    }
}

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/**
 * ZooKeeper's own client: a session's requests are answered in their order, its reads never go
 * back, a multi-read sees one state, its ephemerals live as long as it does.
 */
final class JavaClient extends Program {
    private static final int SESSIONS = 3;
    private static final int BATCH = 20;
    private final AtomicInteger pipelined = new AtomicInteger();
    private final AtomicInteger pairs = new AtomicInteger();
    private final AtomicInteger lost = new AtomicInteger();
    private final ZooKeeper[] sessions = new ZooKeeper[SESSIONS];

    @Override
    void prepare() throws Exception {
        for (int i = 0; i < SESSIONS; i++) {
            sessions[i] = session();
        }
        node(client(), at("/left"), number(0));
        sessions[0].create(at("/right"), bytes(number(0)), ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        for (int i = 0; i < SESSIONS; i++) {
            ZooKeeper session = sessions[i];
            String own = at("/session" + i);
            session.create(own, new byte[0], ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            session.create(own + "/alive", new byte[0], ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
            long[] seen = {0, 0};
            worker(() -> {
                try {
                    pipeline(session, own);
                    pair(session, seen);
                    alive(session, own);
                } catch (KeeperException.ConnectionLossException interrupted) {
                    lost.incrementAndGet();
                    Thread.sleep(20);
                }
            });
        }
    }

    private static ZooKeeper session() throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper session = new ZooKeeper(connect, SESSION_MS, event -> {
            if (event.getState() == Watcher.Event.KeeperState.SyncConnected) {
                connected.countDown();
            }
        });
        if (!connected.await(30, TimeUnit.SECONDS)) {
            throw new IllegalStateException("no connection within 30 s");
        }
        return session;
    }

    private static String number(long value) {
        return String.format("%012d", value);
    }

    /** Many requests at once: answers come in the order of the requests, numbers rise. */
    private void pipeline(ZooKeeper session, String own) throws Exception {
        List<Integer> answered = Collections.synchronizedList(new ArrayList<>());
        List<String> names = Collections.synchronizedList(new ArrayList<>());
        AtomicInteger failed = new AtomicInteger();
        CountDownLatch all = new CountDownLatch(2 * BATCH);
        for (int i = 0; i < BATCH; i++) {
            int turn = i;
            session.create(own + "/s-", bytes(i), ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL_SEQUENTIAL,
                    (code, path, context, name) -> {
                        answered.add(2 * turn);
                        if (code == 0) {
                            names.add(name);
                        } else {
                            failed.incrementAndGet();
                        }
                        all.countDown();
                    }, null);
            session.getChildren(own, false, (code, path, context, children) -> {
                answered.add(2 * turn + 1);
                if (code == 0 && failed.get() == 0) {
                    require(children.size() > turn, "a session does not read its own writes");
                }
                all.countDown();
            }, null);
        }
        require(all.await(60, TimeUnit.SECONDS), "requests are not answered");
        for (int i = 0; i < answered.size(); i++) {
            require(answered.get(i) == i, "answers out of order: " + answered);
        }
        List<String> sorted = new ArrayList<>(names);
        Collections.sort(sorted);
        require(sorted.equals(names), "sequence numbers out of order: " + names);
        pipelined.incrementAndGet();
        for (String name : session.getChildren(own, false)) {
            if (!name.equals("alive")) {
                session.delete(own + "/" + name, -1);
            }
        }
    }

    /** Two nodes that are only set together are only seen together, and never older than before. */
    private void pair(ZooKeeper session, long[] seen) throws Exception {
        List<OpResult> read = session.multi(List.of(Op.getData(at("/left")), Op.getData(at("/right"))));
        OpResult.GetDataResult left = (OpResult.GetDataResult) read.get(0);
        OpResult.GetDataResult right = (OpResult.GetDataResult) read.get(1);
        require(text(left.getData()).equals(text(right.getData())), "a multi-read saw half of a transaction");
        long value = Long.parseLong(text(left.getData()));
        require(value >= seen[0] && left.getStat().getMzxid() >= seen[1], "a session's read went back");
        seen[0] = value;
        seen[1] = left.getStat().getMzxid();
        byte[] next = bytes(number(value + 1));
        try {
            session.multi(List.of(Op.setData(at("/left"), next, left.getStat().getVersion()),
                    Op.setData(at("/right"), next, right.getStat().getVersion())));
            seen[0] = value + 1;
            pairs.incrementAndGet();
        } catch (KeeperException.BadVersionException raced) {
            // another session set them first
        }
    }

    private void alive(ZooKeeper session, String own) throws Exception {
        Stat stat = session.exists(own + "/alive", false);
        require(stat != null && stat.getEphemeralOwner() == session.getSessionId(),
                "an ephemeral is gone whose session lives");
        require(session.getEphemerals(own).contains(own + "/alive"), "getEphemerals does not name it");
        require(session.getAllChildrenNumber(own) >= 1, "getAllChildrenNumber does not count it");
    }

    @Override
    String check() throws Exception {
        require(pipelined.get() > 0 && pairs.get() > 0, "nothing was done");
        ZooKeeper other = session();
        for (int i = 0; i < SESSIONS; i++) {
            sessions[i].close();
            String alive = at("/session" + i + "/alive");
            within30s("an ephemeral goes with its session", () -> other.exists(alive, false) == null);
        }
        other.close();
        return pipelined + " pipelines of " + 2 * BATCH + ", " + pairs + " pairs, " + lost + " times interrupted";
    }
}

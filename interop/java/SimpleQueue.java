import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.zookeeper.KeeperException;

/**
 * SimpleDistributedQueue, each request sent once: nothing is taken twice, nothing is lost but
 * what a taker was being given when its connection broke.
 */
final class SimpleQueue extends Program {
    private final Set<String> offered = ConcurrentHashMap.newKeySet();
    private final Set<String> unsure = ConcurrentHashMap.newKeySet();
    private final Set<String> taken = ConcurrentHashMap.newKeySet();
    private final AtomicInteger interrupted = new AtomicInteger();
    private SimpleDistributedQueue last;

    @Override
    void prepare() throws Exception {
        for (int i = 0; i < 2; i++) {
            SimpleDistributedQueue queue = new SimpleDistributedQueue(clientWithoutRetry(), at("/queue"));
            int producer = i;
            int[] next = {0};
            worker(() -> {
                String item = producer + "-" + next[0]++;
                unsure.add(item);
                pause(() -> {
                    require(queue.offer(bytes(item)), "an offer is refused");
                    offered.add(item);
                    unsure.remove(item);
                });
            });
        }
        for (int i = 0; i < 2; i++) {
            CuratorFramework client = clientWithoutRetry();
            SimpleDistributedQueue queue = new SimpleDistributedQueue(client, at("/queue"));
            worker(() -> pause(() -> {
                try {
                    take(queue.poll(1, TimeUnit.SECONDS));
                } catch (KeeperException.ConnectionLossException | KeeperException.SessionExpiredException lost) {
                    interrupted.incrementAndGet();
                    throw lost;
                }
            }));
        }
        last = new SimpleDistributedQueue(client(), at("/queue"));
    }

    /** Not too fast while there is no connection. */
    private static void pause(Step step) throws Exception {
        try {
            step.run();
        } finally {
            Thread.sleep(3);
        }
    }

    private void take(byte[] item) {
        if (item != null) {
            String text = text(item);
            require(offered.contains(text) || unsure.contains(text), "taken what nobody offered: " + text);
            require(taken.add(text), "taken twice: " + text);
        }
    }

    @Override
    String check() throws Exception {
        byte[] item;
        while ((item = last.poll(1, TimeUnit.SECONDS)) != null) {
            take(item);
        }
        long lost = offered.stream().filter(one -> !taken.contains(one)).count();
        require(lost <= interrupted.get(), lost + " items lost in " + interrupted + " interruptions");
        require(taken.size() > 10, "hardly anything was taken");
        return offered.size() + " offered, " + unsure.size() + " unsure, " + taken.size() + " taken, " + interrupted
                + " takers interrupted";
    }
}

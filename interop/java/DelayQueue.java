import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.queue.DistributedDelayQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;

/**
 * DistributedDelayQueue: nothing is consumed before its time, everything in the end (what its
 * consumer locked without knowing it, when that consumer's session is closed).
 */
final class DelayQueue extends Program {
    private final Set<String> put = ConcurrentHashMap.newKeySet();
    private final Set<String> consumed = ConcurrentHashMap.newKeySet();
    private final List<CuratorFramework> consumers = new ArrayList<>();

    @Override
    void prepare() throws Exception {
        consume();
        DistributedDelayQueue<String> queue = QueueBuilder.builder(client(), null, new Items(), at("/queue"))
                .lockPath(at("/locks")).buildDelayQueue();
        queue.start();
        Random random = random(0);
        int[] next = {0};
        worker(() -> {
            long due = System.currentTimeMillis() + random.nextInt(2000);
            String item = next[0]++ + "@" + due;
            put.add(item);
            queue.put(item, due);
            do {
                Thread.sleep(20);
            } while (put.size() - consumed.size() > 120 && !over);
        });
    }

    private void consume() throws Exception {
        CuratorFramework client = client();
        consumers.add(client);
        QueueBuilder.builder(client, Items.consumer(this::take), new Items(), at("/queue"))
                .lockPath(at("/locks")).buildDelayQueue().start();
    }

    private void take(String item) {
        require(put.contains(item), "consumed what nobody put: " + item);
        require(Long.parseLong(item.split("@")[1]) <= System.currentTimeMillis(), "consumed before its time");
        consumed.add(item);
    }

    @Override
    String check() throws Exception {
        Thread.sleep(2000); // mostly, nothing is left then
        int left = put.size() - consumed.size();
        close(consumers);
        consume();
        within30s("all is consumed", () -> consumed.size() == put.size());
        return put.size() + " items, " + left + " after others' end";
    }
}

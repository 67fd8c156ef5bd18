import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;

/**
 * DistributedQueue with a lock path: what was put is consumed at least once; nothing else is.
 *
 * <p>When the answer to the creation of an item's lock is lost, the recipe takes its own lock for
 * another consumer's. Such items are consumed when the consumer's session is closed.
 */
final class Queue extends Program {
    private final Set<String> put = ConcurrentHashMap.newKeySet();
    private final Set<String> consumed = ConcurrentHashMap.newKeySet();
    private final AtomicInteger twice = new AtomicInteger();
    private final List<CuratorFramework> consumers = new ArrayList<>();

    @Override
    void prepare() throws Exception {
        consume();
        consume();
        for (int i = 0; i < 2; i++) {
            CuratorFramework client = client();
            DistributedQueue<String> queue = QueueBuilder.builder(client, null, new Items(), at("/queue"))
                    .lockPath(at("/locks")).buildQueue();
            queue.start();
            int producer = i;
            int[] next = {0};
            worker(() -> {
                String item = producer + "-" + next[0]++;
                put.add(item);
                queue.put(item);
                if (next[0] % 50 == 0) {
                    require(queue.flushPuts(40, TimeUnit.SECONDS), "puts are not answered");
                }
                do {
                    Thread.sleep(5);
                } while (put.size() - consumed.size() > 100 && !over);
            });
        }
    }

    private void consume() throws Exception {
        CuratorFramework client = client();
        consumers.add(client);
        QueueBuilder.builder(client, Items.consumer(this::take), new Items(), at("/queue"))
                .lockPath(at("/locks")).buildQueue().start();
    }

    private void take(String item) {
        require(put.contains(item), "consumed what nobody put: " + item);
        if (!consumed.add(item)) {
            twice.incrementAndGet();
        }
    }

    @Override
    String check() throws Exception {
        Thread.sleep(1000); // mostly, nothing is left then
        int left = put.size() - consumed.size();
        close(consumers);
        consume();
        within30s("all is consumed", () -> consumed.size() == put.size());
        return put.size() + " items, " + twice + " of them again, " + left + " after others' end";
    }
}

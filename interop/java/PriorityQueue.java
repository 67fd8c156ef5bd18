import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.queue.DistributedPriorityQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;

/** DistributedPriorityQueue: what waits is consumed in the order of its priority. */
final class PriorityQueue extends Program {
    private static final int ITEMS = 20;
    private int rounds;
    private int undisturbed;

    @Override
    void prepare() throws Exception {
        CuratorFramework producer = client();
        CuratorFramework consumer = client();
        worker(() -> round(producer, consumer));
    }

    private void round(CuratorFramework producer, CuratorFramework consumer) throws Exception {
        String path = at("/round" + rounds++);
        int before = suspensions.get();
        List<Integer> priorities = new ArrayList<>();
        for (int i = 0; i < ITEMS; i++) {
            priorities.add(i * 7 - 60); // negative ones too
        }
        Collections.shuffle(priorities, random(rounds));
        try (DistributedPriorityQueue<String> queue =
                QueueBuilder.builder(producer, null, new Items(), path).buildPriorityQueue(0)) {
            queue.start();
            for (int priority : priorities) {
                queue.put(String.valueOf(priority), priority);
            }
            require(queue.flushPuts(40, TimeUnit.SECONDS), "puts are not answered");
        }
        Set<String> consumed = Collections.synchronizedSet(new LinkedHashSet<>());
        try (DistributedPriorityQueue<String> queue = QueueBuilder
                .builder(consumer, Items.consumer(consumed::add), new Items(), path)
                .lockPath(path + "-locks").buildPriorityQueue(0)) {
            queue.start();
            within30s("all is consumed", () -> consumed.size() == ITEMS || suspensions.get() != before);
        }
        if (suspensions.get() == before) {
            Collections.sort(priorities);
            List<String> order = new ArrayList<>();
            priorities.forEach(priority -> order.add(String.valueOf(priority)));
            require(order.equals(new ArrayList<>(consumed)), "not in the order of priority: " + consumed);
            undisturbed++;
        }
    }

    @Override
    String check() {
        require(undisturbed > 0, "no round was undisturbed");
        return rounds + " rounds of " + ITEMS + " items, order seen in " + undisturbed;
    }
}

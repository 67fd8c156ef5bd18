import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;

/** InterProcessMutex: held by one at a time; a number counted under it is exact. */
final class Mutex extends Program {
    private final AtomicInteger inside = new AtomicInteger();
    private final AtomicInteger held = new AtomicInteger();
    private CuratorFramework first;

    @Override
    void prepare() throws Exception {
        first = client();
        String counter = node(first, at("/counter"), "0 nobody");
        for (int i = 0; i < 4; i++) {
            CuratorFramework client = client();
            InterProcessMutex lock = new InterProcessMutex(client, at("/lock"));
            String owner = "worker" + i;
            int[] turn = {0};
            worker(() -> {
                if (!lock.acquire(20, TimeUnit.SECONDS)) {
                    return;
                }
                try {
                    require(inside.incrementAndGet() == 1, "the mutex is held twice");
                    addOne(client, counter, owner + "-" + turn[0]++);
                    held.incrementAndGet();
                } finally {
                    inside.decrementAndGet();
                    lock.release();
                }
            });
        }
    }

    @Override
    String check() throws Exception {
        require(number(first, at("/counter")) == held.get(), "the counter is not exact: "
                + number(first, at("/counter")) + " after " + held);
        require(held.get() > 0, "never held");
        return "held " + held + " times";
    }
}

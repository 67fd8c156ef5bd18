import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.locks.InterProcessLock;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreMutex;

/** InterProcessMultiLock: whoever has all of them shares none with those who take one. */
final class MultiLock extends Program {
    private final AtomicInteger[] inside = {new AtomicInteger(), new AtomicInteger()};
    private final AtomicInteger both = new AtomicInteger();
    private final AtomicInteger single = new AtomicInteger();

    @Override
    void prepare() throws Exception {
        for (int i = 0; i < 4; i++) {
            CuratorFramework client = client();
            InterProcessLock a = new InterProcessMutex(client, at("/a"));
            InterProcessLock b = new InterProcessSemaphoreMutex(client, at("/b"));
            boolean all = i < 2;
            int one = i % 2;
            InterProcessLock lock = all ? new InterProcessMultiLock(List.of(a, b)) : one == 0 ? a : b;
            List<AtomicInteger> mine = all ? List.of(inside) : List.of(inside[one]);
            worker(() -> {
                if (!lock.acquire(20, TimeUnit.SECONDS)) {
                    return;
                }
                try {
                    mine.forEach(count -> require(count.incrementAndGet() == 1, "a lock is held twice"));
                    (all ? both : single).incrementAndGet();
                    Thread.sleep(2);
                } finally {
                    mine.forEach(AtomicInteger::decrementAndGet);
                    lock.release();
                }
            });
        }
    }

    @Override
    String check() {
        require(both.get() > 0 && single.get() > 0, "never held: both " + both + ", one " + single);
        return "both held " + both + " times, one " + single + " times";
    }
}

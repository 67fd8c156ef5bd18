import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;

/** InterProcessReadWriteLock: a writer is alone; readers are together. */
final class ReadWrite extends Program {
    private final AtomicInteger readers = new AtomicInteger();
    private final AtomicInteger writers = new AtomicInteger();
    private final AtomicInteger most = new AtomicInteger();
    private final AtomicInteger reads = new AtomicInteger();
    private final AtomicInteger writes = new AtomicInteger();

    @Override
    void prepare() throws Exception {
        for (int i = 0; i < 5; i++) {
            CuratorFramework client = client();
            InterProcessReadWriteLock lock = new InterProcessReadWriteLock(client, at("/lock"));
            Random random = random(i);
            boolean writer = i < 2;
            worker(() -> {
                InterProcessMutex side = writer ? lock.writeLock() : lock.readLock();
                if (!side.acquire(20, TimeUnit.SECONDS)) {
                    return;
                }
                AtomicInteger mine = writer ? writers : readers;
                try {
                    int now = mine.incrementAndGet();
                    if (writer) {
                        require(now == 1 && readers.get() == 0, "a writer is not alone");
                        writes.incrementAndGet();
                    } else {
                        most.accumulateAndGet(now, Math::max);
                        reads.incrementAndGet();
                    }
                    Thread.sleep(random.nextInt(20));
                    require(writers.get() == (writer ? 1 : 0), "a writer is not alone");
                } finally {
                    mine.decrementAndGet();
                    side.release();
                }
            });
        }
    }

    @Override
    String check() {
        require(reads.get() > 0 && writes.get() > 0, "never held: " + reads + " reads, " + writes + " writes");
        require(most.get() > 1, "readers were never together");
        return reads + " reads, " + most + " at once, " + writes + " writes";
    }
}

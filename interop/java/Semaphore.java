import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;

/** InterProcessSemaphoreV2: never more leases than there are, and not fewer in the end. */
final class Semaphore extends Program {
    private static final int LEASES = 3;
    private final AtomicInteger out = new AtomicInteger();
    private final AtomicInteger most = new AtomicInteger();
    private final AtomicInteger total = new AtomicInteger();
    private CuratorFramework last;

    @Override
    void prepare() throws Exception {
        for (int i = 0; i < 5; i++) {
            CuratorFramework client = client();
            last = client;
            InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(client, at("/semaphore"), LEASES);
            Random random = random(i);
            worker(() -> {
                Lease lease = semaphore.acquire(20, TimeUnit.SECONDS);
                if (lease == null) {
                    return;
                }
                try {
                    int now = out.incrementAndGet();
                    require(now <= LEASES, now + " leases of " + LEASES + " are out");
                    most.accumulateAndGet(now, Math::max);
                    total.incrementAndGet();
                    Thread.sleep(random.nextInt(30));
                } finally {
                    out.decrementAndGet();
                    semaphore.returnLease(lease);
                }
            });
        }
    }

    @Override
    String check() throws Exception {
        InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(last, at("/semaphore"), LEASES);
        boolean all = semaphore.acquire(LEASES, 30, TimeUnit.SECONDS) != null;
        require(all || withoutPath.get() > 0, "leases are lost");
        require(most.get() > 1, "leases were never out together");
        return total + " leases, " + most + " at once";
    }
}

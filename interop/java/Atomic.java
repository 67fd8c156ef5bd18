import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.atomic.PromotedToLock;
import org.apache.curator.retry.RetryNTimes;
import org.apache.zookeeper.KeeperException;

/**
 * DistributedAtomicLong, each request sent once: the sum is what was added, but for additions
 * whose answer was lost; no two additions see the same value.
 */
final class Atomic extends Program {
    private final AtomicInteger added = new AtomicInteger();
    private final AtomicInteger unsure = new AtomicInteger();
    private final Set<Long> values = ConcurrentHashMap.newKeySet();
    private DistributedAtomicLong last;

    @Override
    void prepare() throws Exception {
        for (int i = 0; i < 3; i++) {
            CuratorFramework client = clientWithoutRetry();
            PromotedToLock lock = PromotedToLock.builder().lockPath(at("/lock")).retryPolicy(new RetryNTimes(50, 20))
                    .build();
            DistributedAtomicLong number =
                    new DistributedAtomicLong(client, at("/number"), new RetryNTimes(3, 5), lock);
            worker(() -> {
                try {
                    AtomicValue<Long> value = number.increment();
                    if (value.succeeded()) {
                        require(value.postValue() == value.preValue() + 1, "added something else than one");
                        require(values.add(value.postValue()), "two additions made the same value");
                        added.incrementAndGet();
                    }
                } catch (KeeperException.ConnectionLossException | KeeperException.SessionExpiredException lost) {
                    unsure.incrementAndGet();
                }
                Thread.sleep(5);
            });
        }
        last = new DistributedAtomicLong(client(), at("/number"), new RetryNTimes(3, 5));
    }

    @Override
    String check() throws Exception {
        long sum = last.get().postValue();
        require(added.get() <= sum && sum <= added.get() + unsure.get(),
                sum + " after " + added + " additions, " + unsure + " unsure");
        require(added.get() > 0, "nothing was added");
        return "sum " + sum + " of " + added + " additions, " + unsure + " unsure";
    }
}

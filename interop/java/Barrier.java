import java.util.Random;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;

/** DistributedBarrier: nobody passes before it is removed, everybody passes after. */
final class Barrier extends Program {
    private static final int WAITERS = 3;
    private final CyclicBarrier round = new CyclicBarrier(WAITERS + 1);
    private final AtomicInteger passed = new AtomicInteger();
    private volatile boolean removed;
    private volatile boolean last;

    @Override
    void prepare() throws Exception {
        DistributedBarrier own = new DistributedBarrier(client(), at("/barrier"));
        Random random = random(0);
        worker(() -> {
            boolean end;
            do {
                removed = false;
                untilDone(own::setBarrier);
                end = over;
                last = end;
                round.await(60, TimeUnit.SECONDS);
                Thread.sleep(random.nextInt(200));
                removed = true;
                untilDone(own::removeBarrier);
                round.await(60, TimeUnit.SECONDS);
            } while (!end);
        });
        for (int i = 0; i < WAITERS; i++) {
            CuratorFramework client = client();
            worker(() -> {
                boolean end;
                do {
                    DistributedBarrier barrier = new DistributedBarrier(client, at("/barrier"));
                    round.await(60, TimeUnit.SECONDS);
                    end = last;
                    untilDone(() -> sync(client)); // that it is set, may be news to a follower
                    untilDone(() -> require(barrier.waitOnBarrier(40, TimeUnit.SECONDS), "the barrier did not open"));
                    require(removed, "a barrier was passed that is there");
                    passed.incrementAndGet();
                    round.await(60, TimeUnit.SECONDS);
                } while (!end);
            });
        }
    }

    @Override
    String check() {
        require(passed.get() > 0, "never passed");
        return passed + " times passed";
    }
}

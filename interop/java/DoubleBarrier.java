import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.zookeeper.KeeperException;

/**
 * DistributedDoubleBarrier: nobody is in before all have come, nobody is out before the others go
 * (but for the first in the order of names: the recipe takes a node that is left alone for its own).
 *
 * <p>The recipe cannot go on when the answer to its own node's creation was lost; such a round is
 * given up, and counted. It lets a member out whose connection was lost. And it may wait without
 * end when it heard of a lost connection before it began to wait: such a round is given up, too.
 */
final class DoubleBarrier extends Program {
    private static final int MEMBERS = 3;
    private static final ScheduledExecutorService CLOCK = Executors.newScheduledThreadPool(1);
    private final CyclicBarrier round = new CyclicBarrier(MEMBERS, this::nextRound);
    private final AtomicInteger coming = new AtomicInteger();
    private final AtomicInteger going = new AtomicInteger();
    private final AtomicInteger given = new AtomicInteger();
    private int rounds;
    private int complete;
    private boolean last;

    /** Between two rounds, while all members wait. */
    private void nextRound() {
        require(complete(), "not all went through a round that nobody gave up");
        coming.set(0);
        going.set(0);
        given.set(0);
        rounds++;
        last = over;
    }

    private boolean complete() {
        if (rounds > 0 && given.get() == 0) {
            complete++;
            return coming.get() == MEMBERS && going.get() == MEMBERS;
        }
        return true;
    }

    @Override
    void prepare() throws Exception {
        for (int i = 0; i < MEMBERS; i++) {
            CuratorFramework client = client();
            Random random = random(i);
            worker(() -> {
                boolean end;
                do {
                    round.await(80, TimeUnit.SECONDS);
                    end = last;
                    through(client, random);
                } while (!end);
            });
        }
    }

    private void through(CuratorFramework client, Random random) throws Exception {
        int before = suspensions.get();
        DistributedDoubleBarrier barrier = new DistributedDoubleBarrier(client, at("/round" + rounds), MEMBERS);
        try {
            Thread.sleep(random.nextInt(50));
            coming.incrementAndGet();
            if (!bounded(before, () -> barrier.enter(15, TimeUnit.SECONDS))) {
                require(given.get() > 0 || suspensions.get() != before || over, "not all came");
                given.incrementAndGet();
                return;
            }
            require(coming.get() == MEMBERS, "in before all had come");
            Thread.sleep(random.nextInt(50));
            going.incrementAndGet();
            if (!bounded(before, () -> barrier.leave(15, TimeUnit.SECONDS))) {
                given.incrementAndGet();
                return;
            }
            boolean disturbed = given.get() > 0 || suspensions.get() != before;
            require(going.get() >= MEMBERS - 1 || disturbed, "out before the others went");
        } catch (KeeperException.ConnectionLossException | KeeperException.NodeExistsException
                | KeeperException.NoNodeException lost) {
            given.incrementAndGet();
        }
    }

    /** Gives up after 35 s, which only a lost connection may make it take. */
    private boolean bounded(int suspensionsBefore, Callable<Boolean> wait) throws Exception {
        Future<?> end = CLOCK.schedule(Thread.currentThread()::interrupt, 35, TimeUnit.SECONDS);
        try {
            return wait.call();
        } catch (InterruptedException late) {
            require(suspensions.get() != suspensionsBefore, "it waits without end, and no connection was lost");
            return false;
        } finally {
            end.cancel(false);
            Thread.interrupted();
        }
    }

    @Override
    String check() {
        require(complete > 0, "no round was complete");
        return complete + " of " + rounds + " rounds complete";
    }
}

import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderLatchListener;

/**
 * LeaderLatch: one leader at most, and one after all.
 *
 * <p>After a lost connection, the recipe may act on a list of participants that it asked for
 * before it gave its own place up: two leaders are a failure when no connection was lost since
 * the first began.
 */
final class Latch extends Program {
    private final AtomicInteger leaders = new AtomicInteger();
    private final AtomicInteger terms = new AtomicInteger();
    private final AtomicInteger since = new AtomicInteger();

    /** One participant's view of itself. */
    private final class Term implements LeaderLatchListener {
        private final AtomicBoolean leads = new AtomicBoolean();

        @Override
        public void isLeader() {
            if (leads.compareAndSet(false, true)) {
                boolean disturbed = suspensions.get() != since.getAndSet(suspensions.get());
                require(leaders.incrementAndGet() == 1 || disturbed, "two leaders");
                terms.incrementAndGet();
            }
        }

        @Override
        public void notLeader() {
            if (leads.compareAndSet(true, false)) {
                leaders.decrementAndGet();
            }
        }
    }

    @Override
    void prepare() throws Exception {
        for (int i = 0; i < 3; i++) {
            CuratorFramework client = client();
            Random random = random(i);
            worker(() -> {
                LeaderLatch latch = new LeaderLatch(client, at("/latch"));
                Term term = new Term();
                latch.addListener(term);
                latch.start();
                while (!over && !latch.await(1, TimeUnit.SECONDS)) {
                    require(leaders.get() >= 0, "more stepped down than up");
                }
                Thread.sleep(random.nextInt(100));
                term.notLeader(); // steps down before its node goes
                latch.close();
            });
        }
    }

    @Override
    String check() throws Exception {
        require(leaders.get() == 0, leaders + " leaders after all closed");
        LeaderLatch latch = new LeaderLatch(client(), at("/latch"));
        latch.start();
        require(latch.await(30, TimeUnit.SECONDS), "nobody leads though all others are gone");
        latch.close();
        require(terms.get() > 1, "leadership never changed");
        return terms + " terms";
    }
}

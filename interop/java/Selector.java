import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;

/** LeaderSelector: one leader at most; everybody gets a turn. */
final class Selector extends Program {
    private final AtomicInteger leaders = new AtomicInteger();
    private final AtomicInteger terms = new AtomicInteger();
    private final Set<Integer> had = ConcurrentHashMap.newKeySet();
    private final LeaderSelector[] selectors = new LeaderSelector[3];

    @Override
    void prepare() throws Exception {
        for (int i = 0; i < selectors.length; i++) {
            int own = i;
            selectors[i] = new LeaderSelector(client(), at("/selector"), new LeaderSelectorListenerAdapter() {
                @Override
                public void takeLeadership(CuratorFramework client) throws Exception {
                    require(leaders.incrementAndGet() == 1, "two leaders");
                    try {
                        terms.incrementAndGet();
                        had.add(own);
                        Thread.sleep(10);
                    } finally {
                        leaders.decrementAndGet();
                    }
                }
            });
            selectors[i].autoRequeue();
        }
        worker(() -> {
            if (terms.get() == 0) {
                for (LeaderSelector selector : selectors) {
                    selector.start();
                }
            }
            while (!over) {
                Thread.sleep(50);
            }
        });
    }

    @Override
    String check() throws Exception {
        int before = terms.get();
        had.clear();
        within30s("everybody has a turn", () -> had.size() == selectors.length);
        for (LeaderSelector selector : selectors) {
            selector.close();
        }
        return before + " terms";
    }
}

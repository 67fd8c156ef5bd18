import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.shared.SharedCountListener;
import org.apache.curator.framework.recipes.shared.SharedCountReader;
import org.apache.curator.framework.state.ConnectionState;

/** SharedCount: what was set by version was set once; no reader sees it fall; all agree in the end. */
final class Shared extends Program {
    private final AtomicInteger sets = new AtomicInteger();
    private final AtomicInteger unsure = new AtomicInteger();
    private final SharedCount[] counts = new SharedCount[3];
    private CuratorFramework reader;

    @Override
    void prepare() throws Exception {
        reader = client();
        for (int i = 0; i < counts.length; i++) {
            SharedCount count = new SharedCount(clientWithoutRetry(), at("/count"), 0);
            counts[i] = count;
            int[] seen = {0};
            count.addListener(new SharedCountListener() {
                @Override
                public void countHasChanged(SharedCountReader from, int now) {
                    require(now >= seen[0], "a reader saw the count fall from " + seen[0] + " to " + now);
                    seen[0] = now;
                }

                @Override
                public void stateChanged(CuratorFramework client, ConnectionState state) {
                    // the recipe's own business
                }
            });
            count.start();
            worker(() -> {
                unsure.incrementAndGet();
                boolean set = count.trySetCount(count.getVersionedValue(), count.getCount() + 1);
                unsure.decrementAndGet();
                if (set) {
                    sets.incrementAndGet();
                }
                Thread.sleep(10);
            });
        }
    }

    @Override
    String check() throws Exception {
        for (SharedCount count : counts) {
            within30s("a client's last set is answered", () -> {
                boolean set = count.trySetCount(count.getVersionedValue(), count.getCount() + 1);
                sets.addAndGet(set ? 1 : 0);
                return set;
            });
        }
        sync(reader);
        int last = ByteBuffer.wrap(reader.getData().forPath(at("/count"))).getInt();
        require(sets.get() <= last && last <= sets.get() + unsure.get(),
                last + " after " + sets + " sets, " + unsure + " unsure");
        for (SharedCount count : counts) {
            within30s("all see " + last, () -> count.getCount() == last);
        }
        return sets + " sets, " + unsure + " unsure, count " + last;
    }
}

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;

/** CuratorCache, which lives on a persistent recursive watch: it converges, and tells of it. */
final class CuratorCaches extends Program {
    private CuratorFramework reader;
    private final List<CuratorCache> caches = new ArrayList<>();
    private final AtomicInteger events = new AtomicInteger();
    private int writes;

    @Override
    void prepare() throws Exception {
        reader = client();
        node(reader, at("/tree"), "root");
        for (int i = 0; i < 3; i++) {
            CuratorCache cache = CuratorCache.build(client(), at("/tree"));
            cache.listenable().addListener(CuratorCacheListener.builder()
                    .forAll((type, before, now) -> events.incrementAndGet()).build());
            cache.start();
            caches.add(cache);
        }
        CuratorFramework writer = client();
        Random random = random(0);
        worker(() -> Caches.churn(writer, at("/tree"), random, writes++));
    }

    @Override
    String check() throws Exception {
        Map<String, String> truth = Caches.tree(reader, at("/tree"));
        for (CuratorCache cache : caches) {
            within30s("a CuratorCache shows the tree", () -> {
                Map<String, String> shown = new HashMap<>();
                cache.stream().forEach(one -> shown.put(one.getPath(), Caches.show(one.getData(), one.getStat())));
                return shown.equals(truth);
            });
        }
        require(events.get() > 0, "no listener was told of anything");
        return writes + " writes, " + truth.size() + " nodes, " + events + " events";
    }
}

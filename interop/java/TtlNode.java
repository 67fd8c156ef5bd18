import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;

/**
 * PersistentTtlNode: stays while its owner lives, though the servers delete what is not touched;
 * is deleted by them when the owner is gone.
 */
final class TtlNode extends Program {
    private static final long TTL_MS = 15_000;
    private CuratorFramework other;
    private PersistentTtlNode kept;
    private int seen;
    private int shortLived;

    @Override
    void prepare() throws Exception {
        other = client();
        kept = new PersistentTtlNode(client(), at("/kept"), TTL_MS, bytes("kept"));
        kept.start();
        within30s("the node is there", () -> other.checkExists().forPath(at("/kept")) != null);
        worker(() -> {
            require(other.checkExists().forPath(at("/kept")) != null, "a node was deleted whose owner lives");
            seen++;
            try {
                other.create().withTtl(500).withMode(CreateMode.PERSISTENT_WITH_TTL)
                        .forPath(at("/short" + shortLived++));
            } catch (KeeperException.NodeExistsException again) {
                // made by the request whose answer was lost
            }
            Thread.sleep(100);
        });
    }

    @Override
    String check() throws Exception {
        within30s("nodes that lived 500 ms are gone", () -> {
            sync(other);
            return other.getChildren().forPath(at("")).stream().noneMatch(name -> name.startsWith("short"));
        });
        require(other.checkExists().forPath(at("/kept")) != null, "a node was deleted whose owner lives");
        kept.close();
        within30s("the node of a closed owner is gone", () -> {
            sync(other);
            return other.checkExists().forPath(at("/kept")) == null;
        });
        return "seen " + seen + " times, " + shortLived + " nodes of 500 ms gone";
    }
}

import java.util.Random;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.data.Stat;

/** PersistentNode: comes back when it is deleted and when its session ends, with its last data. */
final class Node extends Program {
    private static final int NODES = 2;
    private final CuratorFramework[] owners = new CuratorFramework[NODES];
    private final PersistentNode[] nodes = new PersistentNode[NODES];
    private final int[] last = new int[NODES];
    private CuratorFramework other;
    private int deleted;
    private int ended;

    @Override
    void prepare() throws Exception {
        other = client();
        for (int i = 0; i < NODES; i++) {
            owners[i] = client();
            nodes[i] = new PersistentNode(owners[i], CreateMode.EPHEMERAL, false, at("/node" + i), bytes(0));
            nodes[i].start();
        }
        Random random = random(0);
        worker(() -> {
            int i = random.nextInt(NODES);
            switch (random.nextInt(8)) {
                case 0 -> {
                    endSession(owners[i]);
                    ended++;
                }
                case 1, 2 -> {
                    try {
                        other.delete().forPath(at("/node" + i));
                        deleted++;
                    } catch (KeeperException.NoNodeException gone) {
                        // its session has just ended
                    }
                }
                default -> nodes[i].setData(bytes(++last[i]));
            }
            within30s("node " + i + " is back", () -> isThere(i));
            Thread.sleep(20);
        });
    }

    /** Whether it is there, owned by its client's session of now. */
    private boolean isThere(int i) throws Exception {
        sync(other);
        Stat stat = other.checkExists().forPath(at("/node" + i));
        return stat != null
                && stat.getEphemeralOwner() == owners[i].getZookeeperClient().getZooKeeper().getSessionId();
    }

    @Override
    String check() throws Exception {
        for (int i = 0; i < NODES; i++) {
            int own = i;
            within30s("node " + i + " holds what was set last", () -> isThere(own)
                    && text(other.getData().forPath(at("/node" + own))).equals(String.valueOf(last[own])));
            nodes[i].close();
            within30s("a closed node is gone", () -> {
                sync(other);
                return other.checkExists().forPath(at("/node" + own)) == null;
            });
        }
        require(deleted > 0 || ended > 0, "nothing happened to the nodes");
        return deleted + " deletions, " + ended + " sessions ended, " + (last[0] + last[1]) + " values";
    }
}

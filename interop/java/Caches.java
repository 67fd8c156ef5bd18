import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.cache.ChildData;
import org.apache.curator.framework.recipes.cache.NodeCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.data.Stat;

/** NodeCache, PathChildrenCache and TreeCache, which live on one-shot watches: they converge. */
final class Caches extends Program {
    static final int NAMES = 12;
    private CuratorFramework reader;
    private final List<NodeCache> nodes = new ArrayList<>();
    private final List<PathChildrenCache> children = new ArrayList<>();
    private final List<TreeCache> trees = new ArrayList<>();
    private int writes;

    @Override
    void prepare() throws Exception {
        reader = client();
        node(reader, at("/tree"), "root");
        for (int i = 0; i < 2; i++) {
            NodeCache node = new NodeCache(client(), at("/tree/n0"));
            node.start();
            nodes.add(node);
            PathChildrenCache path = new PathChildrenCache(client(), at("/tree"), true);
            path.start();
            children.add(path);
            TreeCache tree = new TreeCache(client(), at("/tree"));
            tree.start();
            trees.add(tree);
        }
        CuratorFramework writer = client();
        Random random = random(0);
        worker(() -> churn(writer, at("/tree"), random, writes++));
    }

    /** Creates, sets and deletes among a few names, one level and two levels deep. */
    static void churn(CuratorFramework writer, String root, Random random, int value) throws Exception {
        String path = root + "/n" + random.nextInt(NAMES) + (random.nextBoolean() ? "" : "/m" + random.nextInt(3));
        try {
            switch (random.nextInt(4)) {
                case 0 -> writer.delete().deletingChildrenIfNeeded().forPath(path);
                case 1 -> writer.setData().forPath(path, bytes(value));
                default -> writer.create().creatingParentsIfNeeded().forPath(path, bytes(value));
            }
        } catch (KeeperException.NoNodeException | KeeperException.NodeExistsException
                | KeeperException.NotEmptyException taken) {
            // another step's turn
        }
        Thread.sleep(5);
    }

    /** The tree below a node, as the ensemble has it: path → data and version. */
    static Map<String, String> tree(CuratorFramework reader, String root) throws Exception {
        sync(reader);
        Map<String, String> found = new HashMap<>();
        List<String> queue = new ArrayList<>(List.of(root));
        while (!queue.isEmpty()) {
            String path = queue.remove(0);
            Stat stat = new Stat();
            byte[] data = reader.getData().storingStatIn(stat).forPath(path);
            found.put(path, show(data, stat));
            for (String name : reader.getChildren().forPath(path)) {
                queue.add(path + "/" + name);
            }
        }
        return found;
    }

    static String show(byte[] data, Stat stat) {
        return text(data) + " at " + stat.getMzxid();
    }

    private static void add(TreeCache cache, String path, Map<String, String> found) {
        ChildData data = cache.getCurrentData(path);
        Map<String, ChildData> below = cache.getCurrentChildren(path);
        if (data != null && below != null) {
            found.put(path, show(data.getData(), data.getStat()));
            below.keySet().forEach(name -> add(cache, path + "/" + name, found));
        }
    }

    @Override
    String check() throws Exception {
        String root = at("/tree");
        Map<String, String> truth = tree(reader, root);
        for (NodeCache cache : nodes) {
            within30s("a NodeCache shows the node", () -> {
                ChildData data = cache.getCurrentData();
                String shown = data == null ? null : show(data.getData(), data.getStat());
                return Objects.equals(shown, truth.get(root + "/n0"));
            });
        }
        Map<String, String> direct = new HashMap<>(truth);
        direct.keySet().removeIf(path -> path.lastIndexOf('/') != root.length());
        for (PathChildrenCache cache : children) {
            within30s("a PathChildrenCache shows the children", () -> {
                Map<String, String> shown = new HashMap<>();
                cache.getCurrentData().forEach(one -> shown.put(one.getPath(), show(one.getData(), one.getStat())));
                return shown.equals(direct);
            });
        }
        for (TreeCache cache : trees) {
            within30s("a TreeCache shows the tree", () -> {
                Map<String, String> shown = new HashMap<>();
                add(cache, root, shown);
                return shown.equals(truth);
            });
        }
        return writes + " writes, " + truth.size() + " nodes";
    }
}

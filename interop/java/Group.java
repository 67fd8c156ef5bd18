import java.util.HashSet;
import java.util.Random;
import java.util.Set;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.nodes.GroupMember;

/**
 * GroupMember: all members see who is there, also after a session ended and a member left.
 *
 * <p>The group's own node is made to stay. The recipe would make a container, which goes with the
 * last member and comes again with the next; and the cache behind the recipe, when it is connected
 * again, tells by the number of changes (cversion) alone whether the children are still the same.
 */
final class Group extends Program {
    private static final int MEMBERS = 4;
    private final CuratorFramework[] clients = new CuratorFramework[MEMBERS];
    private final GroupMember[] members = new GroupMember[MEMBERS];
    private int changes;
    private int agreed;

    @Override
    void prepare() throws Exception {
        for (int i = 0; i < MEMBERS; i++) {
            clients[i] = client();
            node(clients[i], at("/group"), "");
            join(i);
        }
        Random random = random(0);
        worker(() -> {
            int i = random.nextInt(MEMBERS);
            if (members[i] == null) {
                join(i);
            } else if (random.nextInt(3) == 0) {
                endSession(clients[i]);
            } else {
                members[i].close();
                members[i] = null;
            }
            changes++;
            if (random.nextInt(3) == 0) {
                agree();
            }
            Thread.sleep(random.nextInt(100));
        });
    }

    private void join(int i) throws Exception {
        members[i] = new GroupMember(clients[i], at("/group"), "member" + i, bytes("payload" + i));
        members[i].start();
    }

    private void agree() throws Exception {
        Set<String> present = new HashSet<>();
        for (int i = 0; i < MEMBERS; i++) {
            if (members[i] != null) {
                present.add("member" + i);
            }
        }
        for (GroupMember member : members) {
            if (member != null) {
                try {
                    within30s("all see " + present, () -> member.getCurrentMembers().keySet().equals(present));
                } catch (AssertionError late) {
                    System.err.println("a member sees " + member.getCurrentMembers().keySet());
                    throw late;
                }
            }
        }
        agreed++;
    }

    @Override
    String check() throws Exception {
        agree();
        require(changes > 0, "nothing changed");
        return changes + " changes, agreed " + agreed + " times";
    }
}

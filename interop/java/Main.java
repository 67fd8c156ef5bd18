import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * Runs programs, all at the same time, against one ensemble whose members somebody else kills.
 *
 * <p>{@code java Main CONNECT SEED [PROGRAM...]} says {@code begun} when every program has its
 * sessions, works until a line comes in (by then all members serve again), lets every program
 * finish and check, and says for each {@code ok|failed<TAB>NAME<TAB>what it saw}.
 */
final class Main {
    private static final List<Class<? extends Program>> ALL = List.of(
            Atomic.class, Barrier.class, Caches.class, CuratorCaches.class, DelayQueue.class, DoubleBarrier.class,
            Group.class, JavaClient.class, JavaWatches.class, Latch.class, MultiLock.class, Mutex.class,
            Node.class, PriorityQueue.class, Queue.class, ReadWrite.class, Selector.class, Semaphore.class,
            Shared.class, SimpleQueue.class, Transactions.class, TtlNode.class);

    public static void main(String[] arguments) throws Exception {
        Program.connect = arguments[0];
        Program.seed = Long.parseLong(arguments[1]);
        List<String> wanted = List.of(arguments).subList(2, arguments.length);
        List<Program> programs = new ArrayList<>();
        for (Class<? extends Program> one : ALL) {
            if (wanted.isEmpty() || wanted.contains(one.getSimpleName())) {
                programs.add(one.getDeclaredConstructor().newInstance());
            }
        }
        for (Program program : programs) {
            program.prepare();
        }
        for (Program program : programs) {
            program.start();
        }
        System.out.println("begun");
        new BufferedReader(new InputStreamReader(System.in)).readLine();
        Program.over = true;
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(90);
        List<Thread> checks = new ArrayList<>();
        for (Program program : programs) {
            Thread check = new Thread(() -> program.finish(deadline), "check-" + program.name());
            check.start();
            checks.add(check);
        }
        for (Thread check : checks) {
            check.join();
        }
        System.out.flush();
        Runtime.getRuntime().halt(0); // whatever a recipe's threads still do
    }

    private Main() {}
}

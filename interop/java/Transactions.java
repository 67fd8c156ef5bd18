import java.util.Collection;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.api.transaction.TransactionOp;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.data.Stat;

/**
 * Curator's transactions: money moves between accounts, each transfer with its own receipt; all
 * of it happens or nothing.
 */
final class Transactions extends Program {
    private static final int ACCOUNTS = 5;
    private static final int EACH = 1000;
    private final AtomicInteger done = new AtomicInteger();
    private final AtomicInteger refused = new AtomicInteger();
    private final AtomicInteger unsure = new AtomicInteger();
    private CuratorFramework reader;

    @Override
    void prepare() throws Exception {
        reader = client();
        node(reader, at("/receipts"), "");
        for (int i = 0; i < ACCOUNTS; i++) {
            node(reader, at("/account" + i), EACH);
        }
        for (int i = 0; i < 3; i++) {
            CuratorFramework client = clientWithoutRetry();
            Random random = random(i);
            int teller = i;
            int[] next = {0};
            worker(() -> {
                transfer(client, random, at("/receipts/" + teller + "-" + next[0]++));
                Thread.sleep(3);
            });
        }
    }

    private void transfer(CuratorFramework client, Random random, String receipt) throws Exception {
        String from = at("/account" + random.nextInt(ACCOUNTS));
        String to = at("/account" + random.nextInt(ACCOUNTS));
        if (from.equals(to)) {
            return;
        }
        Stat fromStat = new Stat();
        Stat toStat = new Stat();
        long fromHas = Long.parseLong(text(client.getData().storingStatIn(fromStat).forPath(from)));
        long toHas = Long.parseLong(text(client.getData().storingStatIn(toStat).forPath(to)));
        TransactionOp op = client.transactionOp();
        try {
            unsure.incrementAndGet();
            Collection<CuratorTransactionResult> results = client.transaction().forOperations(
                    op.setData().withVersion(fromStat.getVersion()).forPath(from, bytes(fromHas - 1)),
                    op.create().forPath(receipt, bytes(1)),
                    op.check().withVersion(toStat.getVersion()).forPath(to),
                    op.setData().withVersion(toStat.getVersion()).forPath(to, bytes(toHas + 1)));
            require(results.size() == 4, "a transaction of four answers " + results.size());
            done.incrementAndGet();
            unsure.decrementAndGet();
        } catch (KeeperException.BadVersionException raced) {
            refused.incrementAndGet();
            unsure.decrementAndGet();
            sync(client);
        }
    }

    @Override
    String check() throws Exception {
        long sum = 0;
        long transfers = 0;
        sync(reader);
        for (int i = 0; i < ACCOUNTS; i++) {
            Stat stat = new Stat();
            sum += Long.parseLong(text(reader.getData().storingStatIn(stat).forPath(at("/account" + i))));
            transfers += stat.getVersion();
        }
        int receipts = reader.getChildren().forPath(at("/receipts")).size();
        require(sum == (long) ACCOUNTS * EACH, "money was made or lost: " + sum);
        require(transfers == 2L * receipts, receipts + " receipts for " + transfers / 2.0 + " transfers");
        require(done.get() <= receipts && receipts <= done.get() + unsure.get(),
                receipts + " receipts after " + done + " transfers, " + unsure + " unsure");
        require(done.get() > 0, "no transfer was done");
        return done + " transfers, " + refused + " refused, " + unsure + " unsure";
    }
}

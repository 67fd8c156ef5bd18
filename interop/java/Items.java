import java.nio.charset.StandardCharsets;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.state.ConnectionState;

/** What a queue carries: a line of text. */
final class Items implements QueueSerializer<String> {
    @Override
    public byte[] serialize(String item) {
        return item.getBytes(StandardCharsets.UTF_8);
    }

    @Override
    public String deserialize(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }

    /** Gives every item to the taker. */
    static QueueConsumer<String> consumer(Taker taker) {
        return new QueueConsumer<>() {
            @Override
            public void consumeMessage(String item) throws Exception {
                taker.take(item);
            }

            @Override
            public void stateChanged(CuratorFramework client,
                    ConnectionState state) {
                // the recipe's own business
            }
        };
    }

    /** Is given an item. */
    interface Taker {
        void take(String item) throws Exception;
    }
}

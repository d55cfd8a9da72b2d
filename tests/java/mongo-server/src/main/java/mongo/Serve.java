package mongo;

import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import de.bwaldvogel.mongo.wire.message.MongoQuery;
import java.util.List;
import org.h2.mvstore.MVStore;

/**
 * mongo-java-server on 127.0.0.1, with its documents in a file of H2 or in memory: {@code Serve PORT [FILE]}.
 *
 * <p>What is done here for it, and nothing in its code: it says that it speaks the protocol of MongoDB 5.0 (its own number is
 * that of 4.0, which drivers of today refuse), it takes {@code hello} for {@code ismaster}, and what is written is in the
 * file before the answer is sent. It has no replication, no numbers of retried writes, no removal of expired documents, no
 * collation, no linearizable reads and no users.
 */
public final class Serve extends H2Backend {
    /** As of MongoDB 5.0. */
    private static final class Today implements MongoVersion {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(5, 0, 0);
        }

        @Override
        public int getWireVersion() {
            return 13;
        }
    }

    private Serve(MVStore store) {
        super(store);
        version(new Today());
    }

    @Override
    public Document handleMessage(MongoMessage message) {
        Document asked = message.getDocument();
        if (asked.keySet().iterator().next().equals("hello")) {
            Document renamed = new Document("ismaster", 1);
            asked.forEach((name, value) -> {
                if (!name.equals("hello")) {
                    renamed.put(name, value);
                }
            });
            message = new MongoMessage(message.getChannel(), message.getHeader(), renamed);
        }
        Document answer = super.handleMessage(message);
        commit();
        return answer;
    }

    @Override
    public QueryResult handleQuery(MongoQuery query) {
        QueryResult answer = super.handleQuery(query);
        commit();
        return answer;
    }

    public static void main(String[] arguments) {
        MVStore.Builder builder = new MVStore.Builder();
        if (arguments.length > 1) {
            builder.fileName(arguments[1]);
        }
        // Written by commit() alone.
        MVStore store = builder.autoCommitDisabled().open();
        new MongoServer(new Serve(store)).bind("127.0.0.1", Integer.parseInt(arguments[0]));
    }
}

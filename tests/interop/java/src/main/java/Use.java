import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.Watch;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.PutOption;
import io.etcd.jetcd.options.WatchOption;
import io.etcd.jetcd.watch.WatchEvent;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** The everyday use of jetcd against the endpoint given as the argument. */
public class Use {
    static ByteSequence bytes(String text) {
        return ByteSequence.from(text.getBytes());
    }

    static void must(boolean good, String what) {
        if (!good) {
            throw new AssertionError(what);
        }
    }

    public static void main(String[] args) throws Exception {
        try (Client client = Client.builder().endpoints("http://" + args[0]).build()) {
            var kv = client.getKVClient();
            kv.put(bytes("/j/a"), bytes("1")).get();
            kv.put(bytes("/j/b"), bytes("2")).get();
            var got = kv.get(bytes("/j/"), GetOption.builder().isPrefix(true).withLimit(1)
                .withSortField(GetOption.SortTarget.KEY).withSortOrder(GetOption.SortOrder.DESCEND).build()).get();
            must(got.getCount() == 2 && got.isMore() && got.getKvs().get(0).getKey().toString().equals("/j/b"), "sorted");
            var txn = kv.txn().If(new Cmp(bytes("/j/a"), Cmp.Op.EQUAL, CmpTarget.value(bytes("1"))))
                .Then(Op.put(bytes("/j/a"), bytes("3"), PutOption.DEFAULT)).Else(Op.get(bytes("/j/a"), GetOption.DEFAULT))
                .commit().get();
            must(txn.isSucceeded(), "transaction");

            List<WatchEvent> seen = new ArrayList<>();
            CountDownLatch three = new CountDownLatch(3);
            var options = WatchOption.builder().isPrefix(true).withPrevKV(true).build();
            try (Watch.Watcher watcher = client.getWatchClient().watch(bytes("/w/"), options, response -> {
                for (WatchEvent event : response.getEvents()) {
                    seen.add(event);
                    three.countDown();
                }
            })) {
                // The watcher is made in the background.
                Thread.sleep(300);
                kv.put(bytes("/w/a"), bytes("1")).get();
                kv.put(bytes("/w/a"), bytes("2")).get();
                kv.delete(bytes("/w/a")).get();
                must(three.await(10, TimeUnit.SECONDS), "events");
                must(seen.get(2).getEventType() == WatchEvent.EventType.DELETE, "deletion");
                must(seen.get(2).getPrevKV().getValue().toString().equals("2"), "previous pair");
            }

            var leases = client.getLeaseClient();
            long lease = leases.grant(30).get().getID();
            must(leases.keepAliveOnce(lease).get().getTTL() == 30, "kept alive");
            kv.put(bytes("/j/leased"), bytes("x"), PutOption.builder().withLeaseId(lease).build()).get();
            var lock = client.getLockClient().lock(bytes("mutex"), lease).get();
            client.getLockClient().unlock(lock.getKey()).get();
            var campaign = client.getElectionClient().campaign(bytes("election"), lease, bytes("me")).get();
            must(client.getElectionClient().leader(bytes("election")).get().getKv().getValue().toString().equals("me"), "leader");
            client.getElectionClient().resign(campaign.getLeader()).get();
            leases.revoke(lease).get();
            must(kv.get(bytes("/j/leased")).get().getKvs().isEmpty(), "the key goes with the lease");

            must(client.getClusterClient().listMember().get().getMembers().size() == 1, "members");
            must(client.getMaintenanceClient().statusMember("http://" + args[0]).get().getVersion().startsWith("3."), "status");
            try {
                kv.put(bytes("/j/a"), bytes("x"), PutOption.builder().withLeaseId(404).build()).get();
                must(false, "an unknown lease");
            } catch (java.util.concurrent.ExecutionException error) {
                must(error.getMessage().contains("requested lease not found"), error.getMessage());
            }
        }
        System.out.println("ok");
        System.exit(0);
    }
}

"""The everyday use of python-etcd3 against the server given as HOST PORT."""

import sys
import threading

import etcd3

client = etcd3.client(host=sys.argv[1], port=int(sys.argv[2]))

client.put("/p/a", "1")
client.put("/p/b", "2")
value, meta = client.get("/p/a")
assert value == b"1" and meta.key == b"/p/a" and meta.version == 1
assert client.get("/p/none") == (None, None)
assert [value for value, _ in client.get_prefix("/p/")] == [b"1", b"2"]
assert [value for value, _ in client.get_prefix("/p/", sort_order="descend", sort_target="value")] == [b"2", b"1"]
assert [meta.key for _, meta in client.get_range("/p/a", "/p/b")] == [b"/p/a"]

assert client.replace("/p/a", "1", "3") and not client.replace("/p/a", "1", "4")
assert client.put_if_not_exists("/p/new", "x") and not client.put_if_not_exists("/p/new", "y")
succeeded, responses = client.transaction(
    compare=[client.transactions.value("/p/a") == "3", client.transactions.version("/p/a") > 1],
    success=[client.transactions.put("/p/a", "5"), client.transactions.get("/p/a")],
    failure=[client.transactions.delete("/p/a")],
)
assert succeeded and responses[1][0][0] == b"5", responses

lease = client.lease(30)
client.put("/p/leased", "x", lease=lease)
assert lease.granted_ttl == 30 and 0 < lease.remaining_ttl <= 30 and lease.keys == [b"/p/leased"]
assert list(lease.refresh())[0].TTL == 30
lease.revoke()
assert client.get("/p/leased")[0] is None

seen = []
done = threading.Event()


def note(response):
    seen.extend(response.events)
    if len(seen) >= 3:
        done.set()


watch = client.add_watch_prefix_callback("/w/", note, prev_kv=True)
client.put("/w/a", "1")
client.put("/w/a", "2")
client.delete("/w/a")
assert done.wait(10), seen
assert [type(event).__name__ for event in seen] == ["PutEvent", "PutEvent", "DeleteEvent"]
assert [event.prev_value for event in seen] == [b"", b"1", b"2"]
client.cancel_watch(watch)

events, cancel = client.watch("/w/once")
client.put("/w/once", "now")
assert next(events).value == b"now"
cancel()

with client.lock("mutex", ttl=10) as lock:
    assert lock.is_acquired()
    assert not client.lock("mutex", ttl=10).acquire(timeout=1)

assert client.delete("/p/a") and not client.delete("/p/a")
assert client.delete_prefix("/p/").deleted == 2
assert client.status().version.startswith("3.")
assert [member.name for member in client.members]
assert client.hash()
client.compact(client.get("/none", serializable=False) and client.put("/p/c", "1").header.revision)
print("ok")

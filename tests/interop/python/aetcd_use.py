"""The everyday use of aetcd against the server given as HOST PORT."""

import asyncio
import sys

import aetcd


async def main(host, port):
    async with aetcd.Client(host=host, port=int(port)) as client:
        await client.put(b"/a/1", b"1")
        await client.put(b"/a/2", b"2")
        assert (await client.get(b"/a/1")).value == b"1"
        assert await client.get(b"/a/none") is None
        result = await client.get_prefix(b"/a/", sort_order="descend", sort_target="key")
        assert [item.key for item in result] == [b"/a/2", b"/a/1"]
        assert await client.replace(b"/a/1", b"1", b"3")
        assert not await client.replace(b"/a/1", b"1", b"4")
        succeeded, _ = await client.transaction(
            compare=[client.transactions.value(b"/a/1") == b"3"],
            success=[client.transactions.put(b"/a/1", b"5")],
            failure=[client.transactions.delete(b"/a/1")],
        )
        assert succeeded and (await client.get(b"/a/1")).value == b"5"

        lease = await client.lease(30)
        await client.put(b"/a/leased", b"x", lease=lease)
        assert 0 < await lease.remaining_ttl() <= 30
        await lease.revoke()
        assert await client.get(b"/a/leased") is None

        seen = []
        watch = await client.watch_prefix(b"/w/")
        for key in (b"/w/1", b"/w/2"):
            await client.put(key, b"x")
        await client.delete(b"/w/1")
        async for event in watch:
            seen.append((str(event.kind).upper().split(".")[-1], event.kv.key))
            if len(seen) == 3:
                break
        await watch.cancel()
        assert seen == [("PUT", b"/w/1"), ("PUT", b"/w/2"), ("DELETE", b"/w/1")], seen

        async with client.lock(b"mutex", ttl=10) as lock:
            assert await lock.is_acquired()
        assert (await client.status()).version.startswith("3.")
        assert await client.delete(b"/a/1")
        print("ok")


asyncio.run(main(*sys.argv[1:]))

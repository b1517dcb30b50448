// The everyday use of npm's etcd3 against the server given as HOST PORT.
const assert = require('assert');
const { Etcd3 } = require('etcd3');

async function main() {
  const client = new Etcd3({ hosts: `http://${process.argv[2]}:${process.argv[3]}` });

  await client.put('/n/a').value('1');
  await client.put('/n/b').value('2');
  assert.strictEqual(await client.get('/n/a').string(), '1');
  assert.strictEqual(await client.get('/n/none').string(), null);
  assert.deepStrictEqual(await client.getAll().prefix('/n/').strings(), { '/n/a': '1', '/n/b': '2' });
  assert.deepStrictEqual(await client.getAll().prefix('/n/').sort('Key', 'Descend').limit(1).keys(), ['/n/b']);
  assert.strictEqual(await client.getAll().prefix('/n/').count(), 2);

  const result = await client
    .if('/n/a', 'Value', '==', '1')
    .and('/n/a', 'Version', '<', 2)
    .then(client.put('/n/a').value('3'), client.get('/n/b'))
    .else(client.delete().key('/n/a'))
    .commit();
  assert.ok(result.succeeded && result.responses.length === 2);

  const space = client.namespace('/space/');
  await space.put('x').value('y');
  assert.strictEqual(await client.get('/space/x').string(), 'y');

  const lease = client.lease(20);
  await lease.put('/n/leased').value('x');
  assert.ok(Number((await lease.keepaliveOnce()).TTL) === 20);
  await lease.revoke();
  assert.strictEqual(await client.get('/n/leased').string(), null);

  const watcher = await client.watch().prefix('/w/').withPreviousKV().create();
  const seen = [];
  const done = new Promise((resolve) => {
    const note = (kind) => (kv, previous) => {
      seen.push([kind, kv.key.toString(), previous ? previous.value.toString() : null]);
      if (seen.length === 3) resolve();
    };
    watcher.on('put', note('put'));
    watcher.on('delete', note('delete'));
  });
  await client.put('/w/a').value('1');
  await client.put('/w/a').value('2');
  await client.delete().key('/w/a');
  await done;
  assert.deepStrictEqual(seen, [['put', '/w/a', null], ['put', '/w/a', '1'], ['delete', '/w/a', '2']]);
  await watcher.cancel();

  let inside = 0;
  await Promise.all(
    [1, 2, 3].map(() => client.lock('mutex').do(async () => {
      inside += 1;
      assert.strictEqual(inside, 1);
      await new Promise((resolve) => setTimeout(resolve, 20));
      inside -= 1;
    }).catch((error) => { if (!/lock/i.test(String(error))) throw error; })),
  );

  const election = client.election('leader', 10);
  const campaign = election.campaign('me');
  await new Promise((resolve, reject) => { campaign.on('elected', resolve); campaign.on('error', reject); });
  assert.strictEqual(await election.leader(), 'me');
  await campaign.resign();

  await client.stm().transact((tx) => tx.get('/n/b').string().then((value) => tx.put('/n/b').value(value + '!')));
  assert.strictEqual(await client.get('/n/b').string(), '2!');

  await client.role('reader').create();
  await client.role('reader').grant({ permission: 'Read', range: client.range ? client.range({ prefix: '/n/' }) : { start: '/n/', end: '/n0' } });
  assert.ok((await client.getRoles()).some((role) => role.name === 'reader'));
  await client.user('someone').create('secret');
  await client.user('someone').addRole('reader');
  assert.deepStrictEqual((await client.user('someone').roles()).map((role) => role.name), ['reader']);
  await client.user('someone').delete();
  await client.role('reader').delete();

  await client.delete().all();
  client.close();
  console.log('ok');
}

main().catch((error) => { console.error(error); process.exit(1); });

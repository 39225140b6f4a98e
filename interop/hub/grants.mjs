// Two people: what one grants, the other may do, and nothing else.
import assert from 'node:assert/strict';
import {refused, step} from './steps.mjs';
import {next, somebody} from './people.mjs';

const schema = {context: 'http://schema.org', type: 'MusicPlaylist'};
const alice = somebody();
const bob = somebody();
const carol = somebody();
const denied = request => refused('permissions_required', undefined, request);

const [id] = await alice.write(alice, {committed_at: next()}, {title: 'Hers'});
let read;

await step('without a grant nothing can be seen', async () => {
  await denied(bob.objects(alice, schema));
  await denied(bob.objects(alice, {}));
  await denied(bob.commits(alice, {object_id: [id]}));
  await denied(bob.commits(alice, {}));
  await denied(bob.objects(alice, {interface: 'Permissions'}));
});
await step('without a grant nothing can be written', async () => {
  await denied(bob.write(alice, {committed_at: next()}, {title: 'His'}));
  await denied(bob.write(alice, {operation: 'update', object_id: id, committed_at: next()}, {title: 'His'}));
  await denied(bob.write(alice, {operation: 'delete', object_id: id, committed_at: next()}, {}));
});
await step('a hub that does not exist says the same', async () => {
  await denied(bob.objects(somebody(), schema));
  await denied(bob.commits(somebody(), {object_id: [id]}));
});
await step('a grant to read is for reading', async () => {
  read = await alice.grant(bob, '-R--', {}, {committed_at: next()});
  assert.deepEqual((await bob.objects(alice, schema)).map(o => o.id), [id]);
  assert.deepEqual(await bob.state(alice, id), {title: 'Hers'});
  await denied(bob.write(alice, {committed_at: next()}, {title: 'His'}));
  await denied(bob.write(alice, {operation: 'update', object_id: id, committed_at: next()}, {title: 'His'}));
  await denied(bob.write(alice, {operation: 'delete', object_id: id, committed_at: next()}, {}));
});
await step('it is for that schema and that person', async () => {
  await alice.write(alice, {type: 'Diary', committed_at: next()}, {text: 'secret'});
  await denied(bob.objects(alice, {context: schema.context, type: 'Diary'}));
  await denied(bob.objects(alice, {context: 'https://schema.org', type: schema.type}));
  await denied(bob.commits(alice, {}));
  await denied(carol.objects(alice, schema));
});
for(const [letters, may] of [['C---', 'create'], ['--U-', 'update'], ['---D', 'delete']]) {
  await step(`${letters} is to ${may} and nothing else`, async () => {
    const dave = somebody();
    const [own] = await alice.write(alice, {type: 'Song', committed_at: next()}, {title: 'one'});
    await alice.grant(dave, letters, {type: 'Song'}, {committed_at: next()});
    const tries = {
      create: () => dave.write(alice, {type: 'Song', committed_at: next()}, {title: 'new'}),
      update: () => dave.write(alice, {type: 'Song', operation: 'update', object_id: own, committed_at: next()}, {title: 'two'}),
      delete: () => dave.write(alice, {type: 'Song', operation: 'delete', object_id: own, committed_at: next()}, {})
    };
    for(const [what, attempt] of Object.entries(tries)) {
      if(what === may) {
        assert((await attempt()).length >= 1);
      } else {
        await denied(attempt());
      }
    }
    await denied(dave.objects(alice, {context: schema.context, type: 'Song'}));
  });
}
await step('created_by lets see what one made, and no more', async () => {
  await alice.grant(carol, 'C---', {type: 'Photo'}, {committed_at: next()});
  await alice.grant(carol, '-R--', {type: 'Photo', created_by: carol.did}, {committed_at: next()});
  const [hers] = await alice.write(alice, {type: 'Photo', committed_at: next()}, {title: 'of Alice'});
  const [own] = await carol.write(alice, {type: 'Photo', committed_at: next()}, {title: 'of Carol'});
  assert.deepEqual((await carol.objects(alice, {context: schema.context, type: 'Photo'})).map(o => o.id), [own]);
  assert.deepEqual(await carol.state(alice, own), {title: 'of Carol'});
  await denied(carol.commits(alice, {object_id: [hers]}));
});
await step('nobody grants but the owner', async () => {
  await alice.grant(bob, 'C---', {context: 'schema.identity.foundation/0.1', type: 'PermissionGrant'}, {committed_at: next()});
  await denied(bob.write(alice, {
    interface: 'Permissions', context: 'schema.identity.foundation/0.1', type: 'PermissionGrant', committed_at: next()
  }, {owner: alice.did, grantee: bob.did, context: schema.context, type: 'Diary', allow: 'CRUD'}));
});
await step('a grant to create may not be bound to a creator', async () => {
  await refused('bad_request', undefined, alice.grant(bob, 'CR--', {created_by: bob.did}, {committed_at: next()}));
});
await step('a grant that was replaced counts as it is now', async () => {
  await alice.grant(bob, '----', {}, {operation: 'update', object_id: read, committed_at: next()});
  await denied(bob.objects(alice, schema));
  await alice.grant(bob, '-R--', {}, {operation: 'update', object_id: read, committed_at: next()});
  assert.equal((await bob.objects(alice, schema)).length, 1);
});
await step('a grant that was deleted counts no more, whatever comes after', async () => {
  await alice.grant(bob, '-R--', {}, {operation: 'delete', object_id: read, committed_at: next()});
  await denied(bob.objects(alice, schema));
  await alice.grant(bob, 'CRUD', {}, {operation: 'update', object_id: read, committed_at: next()}).catch(() => {});
  await denied(bob.objects(alice, schema));
});
await step('a message may be left without a grant, and not be read back', async () => {
  const action = {interface: 'Actions', context: 'http://schema.org', type: 'ReadAction'};
  const [left] = await bob.write(alice, {...action, committed_at: next()}, {object: 'news'});
  await denied(bob.objects(alice, action));
  await denied(bob.commits(alice, {object_id: [left]}));
  assert((await alice.objects(alice, action)).some(o => o.id === left && o.created_by === bob.did));
});

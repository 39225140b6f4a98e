// One person writes, finds, reads, changes and deletes objects in the own hub.
import assert from 'node:assert/strict';
import {base, refused, step} from './steps.mjs';
import {hub, next, somebody} from './people.mjs';

const alice = somebody();
const schema = {context: 'http://schema.org', type: 'MusicPlaylist'};
let id;

await step('the hub says who it is', async () => {
  assert.match(hub.did, /^did:/);
});
await step('an empty hub has no objects', async () => {
  assert.deepEqual(await alice.objects(alice, schema), []);
});
await step('create an object', async () => {
  const revisions = await alice.write(alice, {committed_at: next(), meta: {title: 'Rock', 'cache-intent': 'full'}},
    {title: 'Classic Rock – Ö 日本 🎸'});
  assert.equal(revisions.length, 1);
  id = revisions[0];
  assert.match(id, /^[0-9a-f]{64}$/);
});
await step('find it by its type', async () => {
  const [object, ...more] = await alice.objects(alice, schema);
  assert.equal(more.length, 0);
  assert.equal(object.id, id);
  assert.equal(object.interface, 'Collections');
  assert.equal(object.context, schema.context);
  assert.equal(object.type, schema.type);
  assert.equal(object.created_by, alice.did);
  assert.equal(object.sub, alice.did);
  assert.equal(object.commit_strategy, 'basic');
  assert.equal(object.meta.title, 'Rock');
  assert(!Number.isNaN(Date.parse(object.created_at)));
});
await step('find it by interface alone, and by its id', async () => {
  assert.equal((await alice.objects(alice, {})).length, 1);
  assert.equal((await alice.objects(alice, {...schema, object_id: [id]})).length, 1);
  assert.equal((await alice.objects(alice, {...schema, object_id: ['0'.repeat(64)]})).length, 0);
});
await step('read its state', async () => {
  assert.deepEqual(await alice.state(alice, id), {title: 'Classic Rock – Ö 日本 🎸'});
});
await step('commits come back as they were signed, with what the hub computes', async () => {
  const [commit, ...more] = await alice.commits(alice, {object_id: [id]});
  assert.equal(more.length, 0);
  assert.equal(commit.getRevision(), id);
  assert.equal(commit.getObjectId(), id);
  assert.equal(commit.toFlattenedJson().header.iss, alice.did);
});
await step('update it', async () => {
  const revisions = await alice.write(alice, {operation: 'update', object_id: id, committed_at: next()}, {title: 'Second'});
  assert.equal(revisions.length, 2);
  assert.equal(revisions[0], id);
  assert.deepEqual(await alice.state(alice, id), {title: 'Second'});
});
await step('get one commit by its revision', async () => {
  const [, second] = await alice.commits(alice, {object_id: [id]});
  const [found, ...more] = await alice.commits(alice, {revision: [second.getRevision()]});
  assert.equal(more.length, 0);
  assert.deepEqual(found.getPayload(), {title: 'Second'});
});
await step('a commit sent twice counts once', async () => {
  const signed = await alice.commit(alice, {operation: 'update', object_id: id, committed_at: next()}, {title: 'Third'});
  assert.equal((await alice.send(alice, signed)).length, 3);
  assert.equal((await alice.send(alice, signed)).length, 3);
  assert.equal((await alice.commits(alice, {object_id: [id]})).length, 3);
});
await step('an update of earlier date does not win', async () => {
  await alice.write(alice, {operation: 'update', object_id: id, committed_at: '2019-01-01T00:00:00.000Z'}, {title: 'Old'});
  assert.deepEqual(await alice.state(alice, id), {title: 'Third'});
});
await step('a payload may be text', async () => {
  const [text] = await alice.write(alice, {committed_at: next(), type: 'Note'}, 'eyJhbGciOiJub25lIn0');
  assert.equal(await alice.state(alice, text), 'eyJhbGciOiJub25lIn0');
});
await step('delete it, for good', async () => {
  await alice.write(alice, {operation: 'delete', object_id: id, committed_at: next()}, {});
  assert.equal(await alice.state(alice, id), null);
  await alice.write(alice, {operation: 'update', object_id: id, committed_at: next()}, {title: 'Again'});
  assert.equal(await alice.state(alice, id), null);
});
await step('every interface takes objects of its own', async () => {
  const [profile] = await alice.write(alice, {interface: 'Profile', type: 'Person', committed_at: next()}, {name: 'Alice'});
  assert.equal((await alice.objects(alice, {interface: 'Profile'}))[0].id, profile);
  assert.equal((await alice.objects(alice, {context: schema.context, type: 'Person'})).length, 0);
  await refused('bad_request', undefined,
    alice.write(alice, {interface: 'Profile', type: 'Person', committed_at: next()}, {name: 'Alice 2'}));
});
await step('250 objects come in three pages, each once, in the order of arrival', async () => {
  const many = somebody();
  const ids = [];
  for(let i = 0; i < 250; i++) {
    const [one] = await many.write(many, {committed_at: next(), type: 'Song'}, {i});
    ids.push(one);
  }
  assert.deepEqual((await many.objects(many, {context: schema.context, type: 'Song'})).map(o => o.id), ids);
  const first = await many.page(many, {context: schema.context, type: 'Song'});
  assert(first.hasSkipToken());
  assert(first.getObjects().length <= 100);
  assert.deepEqual((await many.commits(many, {})).map(c => c.getRevision()), ids);
});
await step('the hub answers at each of its places, and under each of its identifiers', async () => {
  for(const path of ['/', '/.identity', '/api/v1.0', '/.identity/api/v1.0']) {
    assert((await alice.page(alice, schema, {endpoint: base + path})).getObjects().length === 1);
  }
  for(const hubDid of hub.dids.filter(d => d.startsWith('did:jwk:') || d.startsWith('did:web:'))) {
    assert((await alice.page(alice, schema, {hubDid})).getObjects().length === 1);
  }
});

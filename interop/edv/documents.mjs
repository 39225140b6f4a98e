// Documents: written, read, replaced and deleted with the published client.
import assert from 'node:assert/strict';
import {client, person, resolver, root, vault} from './people.mjs';
import {ask} from './wire.mjs';
import {base, fails, refused, step} from './steps.mjs';
import {EdvClient} from '@digitalbazaar/edv-client';

const alice = await person('alice of documents');
const bob = await person('bob of documents');
const {id: vaultId, edv} = await vault(base, alice);

const content = {title: 'Käsekuchen 🍰', parts: [1, 2.5, null, {deep: true}], empty: ''};

let doc = await step('a document is inserted', async () => {
  const inserted = await edv.insert({doc: {content, meta: {kind: 'recipe'}}});
  assert.equal(inserted.sequence, 0);
  return inserted;
});

await step('and read back', async () => {
  const read = await edv.get({id: doc.id});
  assert.deepEqual(read.content, content);
  assert.deepEqual(read.meta, {kind: 'recipe'});
  assert.equal(read.id, doc.id);
  assert.deepEqual(read.jwe, doc.jwe);
  assert.deepEqual(read.indexed, doc.indexed);
});

await step('an id of the writer\'s choice is kept', async () => {
  const id = await EdvClient.generateId();
  assert.equal((await edv.insert({doc: {id, content: {}}})).id, id);
  assert.deepEqual((await edv.get({id})).content, {});
});

await step('the same id again is a duplicate', () =>
  fails('DuplicateError', edv.insert({doc: {id: doc.id, content: {}}})));

await step('a document that is not there is not found', async () =>
  fails('NotFoundError', edv.get({id: await EdvClient.generateId()})));

await step('an id that is none is refused', async () => {
  const answer = await ask({url: `${vaultId}/documents/nonsense`, by: alice, capability: root(vaultId)});
  assert.equal(answer.status, 400, answer.text);
});

doc = await step('it is updated', async () => {
  const read = await edv.get({id: doc.id});
  read.content.title = 'Apfelstrudel';
  const updated = await edv.update({doc: read});
  assert.equal(updated.sequence, 1);
  const again = await edv.get({id: doc.id});
  assert.equal(again.sequence, 1);
  assert.equal(again.content.title, 'Apfelstrudel');
  return again;
});

await step('a stale update is refused', () =>
  fails('InvalidStateError', edv.update({doc: {...doc, sequence: 0}})));

await step('and so is one from the future', () =>
  fails('InvalidStateError', edv.update({doc: {...doc, sequence: 5}})));

doc = await step('of eight updates at once just one is accepted', async () => {
  const tries = await Promise.allSettled(Array.from({length: 8}, (_, writer) =>
    edv.update({doc: {...doc, content: {writer}}})));
  const won = tries.map((t, i) => ({...t, i})).filter(t => t.status === 'fulfilled');
  assert.equal(won.length, 1);
  for(const lost of tries.filter(t => t.status === 'rejected')) {
    assert.equal(lost.reason.name, 'InvalidStateError', lost.reason.message);
  }
  const now = await edv.get({id: doc.id});
  assert.equal(now.sequence, 2);
  assert.equal(now.content.writer, won[0].i);
  return now;
});

await step('an update makes a document that was not there', async () => {
  const id = await EdvClient.generateId();
  await edv.update({doc: {id, content: {made: 'by update'}}});
  const read = await edv.get({id});
  assert.equal(read.sequence, 0);
  assert.equal(read.content.made, 'by update');
});

await step('a document under another\'s path is refused', async () => {
  const other = await edv.insert({doc: {content: {}}});
  const url = `${vaultId}/documents/${other.id}`;
  const {id, sequence, indexed, jwe} = await edv.get({id: doc.id});
  const answer = await ask({
    url, method: 'post', by: alice, capability: root(vaultId), json: {id, sequence: sequence + 1, indexed, jwe}
  });
  assert.equal(answer.status, 400, answer.text);
});

await step('malformed documents are refused', async () => {
  const {sequence, indexed, jwe} = doc;
  const id = await EdvClient.generateId();
  const good = {id, sequence: 0, indexed: indexed.map(e => ({...e, sequence: 0})), jwe};
  const bad = {
    'no id': {...good, id: undefined},
    'no sequence': {...good, sequence: undefined},
    'no jwe': {...good, jwe: undefined},
    'negative sequence': {...good, sequence: -1},
    'sequence that is a text': {...good, sequence: String(sequence)},
    'sequence beyond bounds': {...good, sequence: 2 ** 53},
    'fraction': {...good, sequence: 0.5},
    'unknown member': {...good, extra: 1},
    'no recipients': {...good, jwe: {...jwe, recipients: []}},
    'recipient without a key id': {
      ...good, jwe: {...jwe, recipients: [{header: {alg: 'ECDH-ES+A256KW'}, encrypted_key: 'AA'}]}
    },
    'unknown member of jwe': {...good, jwe: {...jwe, extra: 1}},
    'array': [good]
  };
  const post = json => ask({
    url: `${vaultId}/documents`, method: 'post', by: alice, capability: root(vaultId), json
  });
  for(const [what, json] of Object.entries(bad)) {
    const answer = await post(json);
    assert.equal(answer.status, 400, `${what}: ${answer.status} ${answer.text}`);
  }
  const answer = await post(good);
  assert.equal(answer.status, 201, answer.text);
});

await step('an update keeps old readers and adds new ones', async () => {
  const shared = await edv.insert({doc: {content: {for: 'both'}}});
  const withBob = client(alice, vaultId, [bob]);
  const to = p => ({header: {kid: p.keyAgreementKey.id, alg: 'ECDH-ES+A256KW'}});
  await withBob.update({
    doc: await withBob.get({id: shared.id}), recipients: [to(bob)], keyResolver: resolver(alice, bob)
  });
  assert.equal((await edv.get({id: shared.id})).content.for, 'both');
  const asBob = await edv.get({id: shared.id, keyAgreementKey: bob.keyAgreementKey});
  assert.equal(asBob.content.for, 'both');
  assert.equal(asBob.jwe.recipients.length, 2);
});

await step('a document of 3 MiB goes in and out', async () => {
  const text = 'x'.repeat(3 << 20);
  const {id} = await edv.insert({doc: {content: {text}}});
  assert.equal((await edv.get({id})).content.text, text);
});

await step('a stranger reads and writes nothing', async () => {
  const stranger = client(bob, vaultId);
  await refused(403, stranger.get({id: doc.id}));
  await refused(403, stranger.get({id: await EdvClient.generateId()}));
  await refused(403, stranger.insert({doc: {content: {}}}));
  await refused(403, stranger.update({doc: {id: doc.id, sequence: doc.sequence, content: {}}}));
  assert.equal((await edv.get({id: doc.id})).sequence, doc.sequence);
});

await step('a deleted document is empty, and its id stays taken', async () => {
  assert.equal(await edv.delete({doc}), true);
  const gone = await edv.get({id: doc.id});
  assert.deepEqual(gone.content, {});
  assert.deepEqual(gone.meta, {deleted: true});
  assert.equal(gone.sequence, doc.sequence + 1);
  await fails('DuplicateError', edv.insert({doc: {id: doc.id, content: {}}}));
});

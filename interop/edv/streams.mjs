// Streams: documents with chunks.
import assert from 'node:assert/strict';
import {createHash} from 'node:crypto';
import {client, person, resolver, root, vault} from './people.mjs';
import {ask} from './wire.mjs';
import {base, fails, refused, step} from './steps.mjs';

const alice = await person('alice of streams');
const bob = await person('bob of streams');
const {id: vaultId, edv} = await vault(base, alice);

/** Bytes that are the same each time and do not repeat within a chunk. */
function bytes(size, seed) {
  const parts = [];
  for(let n = 0, have = 0; have < size; n++, have += 32) {
    parts.push(createHash('sha256').update(`${seed} ${n}`).digest());
  }
  return new Uint8Array(Buffer.concat(parts).subarray(0, size));
}

/** A stream of the bytes in uneven pieces, as they come from a network. */
const streamOf = data => new ReadableStream({
  start(controller) {
    for(let at = 0, piece = 1; at < data.length; at += piece, piece = piece * 3 % 50_021) {
      controller.enqueue(data.slice(at, at + piece));
    }
    controller.close();
  }
});

async function readBack(who, id, key) {
  const doc = await who.get({id, keyAgreementKey: key});
  const parts = [];
  for await (const part of await who.getStream({doc, keyAgreementKey: key})) {
    parts.push(part);
  }
  return new Uint8Array(Buffer.concat(parts));
}

const chunkSize = 16 << 10;
const sizes = [0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 3 * chunkSize, 5 * chunkSize + 7];
for(const size of sizes) {
  await step(`a stream of ${size} bytes goes in and out`, async () => {
    const data = bytes(size, 'in');
    const doc = await edv.insert({doc: {content: {size}}, stream: streamOf(data), chunkSize});
    assert.equal(doc.sequence, 1);
    assert.deepEqual(doc.stream, {sequence: 0, chunks: Math.ceil(size / chunkSize)});
    assert.deepEqual(await readBack(edv, doc.id), data);
  });
}

const big = await step('a stream of 2.5 MiB in chunks of the client\'s own size goes in and out', async () => {
  const data = bytes(5 << 19, 'big');
  const {id} = await edv.insert({doc: {content: {}}, stream: streamOf(data)});
  assert.deepEqual(await readBack(edv, id), data);
  return id;
});

for(const [what, size] of [['longer', 9 * chunkSize], ['shorter', 2 * chunkSize - 1], ['empty', 0]]) {
  await step(`a stream is replaced by a ${what} one`, async () => {
    const data = bytes(size, what);
    await edv.update({doc: await edv.get({id: big}), stream: streamOf(data), chunkSize});
    assert.deepEqual(await readBack(edv, big), data);
  });
}

const small = bytes(3 * chunkSize, 'small');
const {id} = await edv.insert({doc: {content: {n: 1}}, stream: streamOf(small), chunkSize});

await step('an update of the content alone keeps the stream', async () => {
  const doc = await edv.get({id});
  doc.content.n = 2;
  await edv.update({doc});
  const now = await edv.get({id});
  assert.equal(now.content.n, 2);
  assert.equal(now.sequence, 2);
  assert.deepEqual(await readBack(edv, id), small);
});

await step('a chunk that is not there is not found', async () => {
  const doc = await edv.get({id});
  const stream = await edv.getStream({doc: {...doc, stream: {...doc.stream, chunks: 4}}});
  await fails('NotFoundError', stream.pipeTo(new WritableStream()));
});

const chunk = (n, how = {}) => ask({
  url: `${vaultId}/documents/${id}/chunks/${n}`, by: alice, capability: root(vaultId), ...how
});

const first = await step('a chunk is served as it was stored', async () => {
  const answer = await chunk(0);
  assert.equal(answer.status, 200, answer.text);
  assert.match(answer.headers['content-type'], /^application\/json/);
  const {sequence, index, offset} = JSON.parse(answer.text);
  assert.deepEqual({sequence, index, offset}, {sequence: 0, index: 0, offset: chunkSize});
  return JSON.parse(answer.text);
});

await step('a chunk for a sequence that is past is refused', async () => {
  const answer = await chunk(0, {method: 'post', json: first});
  assert.equal(answer.status, 409, answer.text);
});

await step('a chunk under another\'s number is refused', async () => {
  const answer = await chunk(1, {method: 'post', json: {...first, sequence: 2}});
  assert.equal(answer.status, 400, answer.text);
});

await step('a number that is none is not found', async () => {
  for(const n of ['x', '-1', '1.5', '99999999999999999999']) {
    assert.equal((await chunk(n)).status, 404, n);
  }
});

await step('a chunk of a document that is not there is refused', async () => {
  const url = `${vaultId}/documents/${await edv.generateId()}/chunks/0`;
  const answer = await ask({url, method: 'post', by: alice, capability: root(vaultId), json: first});
  assert([404, 409].includes(answer.status), `${answer.status} ${answer.text}`);
});

await step('chunks sent but never closed do not disturb the stream', async () => {
  const answer = await chunk(0, {method: 'post', json: {...first, sequence: 2, offset: 1}});
  assert.equal(answer.status, 204, answer.text);
  assert.equal(answer.text, '');
  assert.deepEqual(await readBack(edv, id), small);
});

await step('a chunk is deleted', async () => {
  const doc = await edv.insert({doc: {content: {}}, stream: streamOf(small), chunkSize});
  const url = `${vaultId}/documents/${doc.id}/chunks/2`;
  const how = {url, by: alice, capability: root(vaultId)};
  assert.equal((await ask({...how, method: 'delete', action: 'write'})).status, 204);
  assert.equal((await ask(how)).status, 404);
  assert.equal((await ask({...how, method: 'delete', action: 'write'})).status, 404);
});

await step('a reader of the document reads its stream', async () => {
  const writer = client(alice, vaultId, [bob]);
  const to = p => ({header: {kid: p.keyAgreementKey.id, alg: 'ECDH-ES+A256KW'}});
  const doc = await writer.insert({
    doc: {content: {}}, stream: streamOf(small), chunkSize,
    recipients: [to(alice), to(bob)], keyResolver: resolver(alice, bob)
  });
  const target = `${vaultId}/documents/${doc.id}`;
  const capability = await alice.zcap.delegate({
    capability: root(vaultId), invocationTarget: target, controller: bob.did, allowedActions: ['read']
  });
  const reader = client(bob);
  reader.capability = capability;
  assert.deepEqual(await readBack(reader, doc.id, bob.keyAgreementKey), small);
  const written = await ask({url: `${target}/chunks/0`, method: 'post', by: bob, capability, json: first});
  assert.equal(written.status, 403, written.text);
});

await step('a stranger gets no chunk', () =>
  refused(403, client(bob, vaultId).getStream({doc: {id, stream: {sequence: 0, chunks: 1}}})
    .then(stream => stream.pipeTo(new WritableStream()))));

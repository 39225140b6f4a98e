// Queries over blinded attributes.
import assert from 'node:assert/strict';
import {client, person, root, vault} from './people.mjs';
import {ask} from './wire.mjs';
import {base, fails, refused, step} from './steps.mjs';

const alice = await person('alice of queries');
const bob = await person('bob of queries');
const {id: vaultId, edv} = await vault(base, alice);

edv.ensureIndex({attribute: 'content.serial', unique: true});
edv.ensureIndex({attribute: 'content.kind'});
edv.ensureIndex({attribute: 'meta.tags'});
edv.ensureIndex({attribute: ['content.city', 'content.street']});
edv.ensureIndex({attribute: ['content.shelf', 'content.place'], unique: true});

const books = [
  {
    content: {serial: 1, kind: 'novel', city: 'Wien', street: 'Ring', shelf: 'a', place: 1},
    meta: {tags: ['old', 'red']}
  },
  {
    content: {serial: 2, kind: 'novel', city: 'Wien', street: 'Graben', shelf: 'a', place: 2},
    meta: {tags: ['red']}
  },
  {content: {serial: 3, kind: 'atlas', city: 'Graz', street: 'Ring', shelf: 'b', place: 1}, meta: {tags: []}},
  {content: {serial: 4, kind: 'atlas', city: 'Wien'}}
];
const serials = ({documents}) => documents.map(d => d.content.serial).sort();

await step('documents with attributes are inserted', async () => {
  for(const doc of books) {
    doc.id = (await edv.insert({doc})).id;
  }
});

await step('a simple attribute finds its documents', async () => {
  const found = await edv.find({equals: {'content.kind': 'novel'}});
  assert.deepEqual(serials(found), [1, 2]);
  assert.equal(found.hasMore, false);
  const one = found.documents.find(d => d.id === books[0].id);
  assert.deepEqual(one.content, books[0].content);
});

await step('a value nobody has finds nothing', async () => {
  assert.deepEqual(await edv.find({equals: {'content.kind': 'poem'}}), {documents: [], hasMore: false});
});

await step('the value\'s type counts', async () => {
  assert.deepEqual(serials(await edv.find({equals: {'content.serial': '1'}})), []);
});

await step('a unique attribute finds one', async () => {
  assert.deepEqual(serials(await edv.find({equals: {'content.serial': 3}})), [3]);
});

await step('attributes of one filter are joined by AND', async () => {
  assert.deepEqual(serials(await edv.find({equals: {'content.kind': 'novel', 'content.serial': 2}})), [2]);
  assert.deepEqual(serials(await edv.find({equals: {'content.kind': 'atlas', 'content.serial': 2}})), []);
});

await step('filters are joined by OR, without duplicates', async () => {
  const found = await edv.find({equals: [{'content.kind': 'novel'}, {'content.serial': 2}, {'content.serial': 4}]});
  assert.deepEqual(serials(found), [1, 2, 4]);
});

await step('each element of an array is found', async () => {
  assert.deepEqual(serials(await edv.find({equals: {'meta.tags': 'red'}})), [1, 2]);
  assert.deepEqual(serials(await edv.find({equals: {'meta.tags': 'old'}})), [1]);
});

await step('a compound attribute finds by its whole and by its beginning', async () => {
  assert.deepEqual(serials(await edv.find({equals: {'content.city': 'Wien', 'content.street': 'Ring'}})), [1]);
  assert.deepEqual(serials(await edv.find({equals: {'content.city': 'Wien'}})), [1, 2, 4]);
});

await step('an attribute without an index matches nothing', async () => {
  assert.deepEqual(serials(await edv.find({equals: {'content.unknown': 1}})), []);
  assert.equal(await edv.count({equals: {'content.unknown': 1}}), 0);
});

await step('has finds who has them all', async () => {
  assert.deepEqual(serials(await edv.find({has: 'content.serial'})), [1, 2, 3, 4]);
  assert.deepEqual(serials(await edv.find({has: ['content.serial', 'meta.tags']})), [1, 2]);
  assert.deepEqual(serials(await edv.find({has: ['content.city', 'content.street']})), [1, 2, 3]);
});

await step('count counts', async () => {
  assert.equal(await edv.count({equals: {'content.kind': 'novel'}}), 2);
  assert.equal(await edv.count({has: 'content.serial'}), 4);
  assert.equal(await edv.count({equals: {'content.kind': 'poem'}}), 0);
});

await step('limit limits and says that there is more', async () => {
  const some = await edv.find({has: 'content.serial', limit: 3});
  assert.equal(some.documents.length, 3);
  assert.equal(some.hasMore, true);
  const all = await edv.find({has: 'content.serial', limit: 4});
  assert.equal(all.documents.length, 4);
  assert.equal(all.hasMore, false);
});

await step('ids alone can be had', async () => {
  const {documentIds, documents, hasMore} = await edv.find({has: 'content.serial', returnDocuments: false});
  assert.equal(documents, undefined);
  assert.deepEqual(documentIds.toSorted(), books.map(b => b.id).sort());
  assert.equal(hasMore, false);
  const none = await edv.find({equals: {'content.kind': 'poem'}, returnDocuments: false});
  assert.deepEqual(none.documentIds, []);
});

const raw = (query, path = '/query', by = alice) => ask({
  url: vaultId + path, method: 'post', action: 'read', by, capability: root(vaultId), json: query
});
const index = alice.hmac.id;

await step('ids alone can be asked for in the body, and at the documents\' own address', async () => {
  const {indexed: [{attributes: [{name}]}]} = await edv.get({id: books[0].id});
  const answer = await raw({index, has: [name], returnDocuments: false}, '/documents/query');
  assert.equal(answer.status, 200, answer.text);
  assert.equal(JSON.parse(answer.text).documentIds.length, 4);
});

await step('malformed queries are refused', async () => {
  const bad = {
    'neither': {index},
    'both': {index, equals: [{a: 'b'}], has: ['a']},
    'no index': {has: ['a']},
    'no filter': {index, equals: []},
    'no name': {index, has: []},
    'no array': {index, has: 'a'},
    'limit of none': {index, has: ['a'], limit: 0},
    'limit beyond': {index, has: ['a'], limit: 1001},
    'unknown member': {index, has: ['a'], frobnicate: 1}
  };
  for(const [what, query] of Object.entries(bad)) {
    const answer = await raw(query);
    assert.equal(answer.status, 400, `${what}: ${answer.status} ${answer.text}`);
  }
});

await step('another key\'s index finds nothing', async () => {
  const {indexed: [{attributes: [{name}]}]} = await edv.get({id: books[0].id});
  const answer = await raw({index: 'urn:hmac:other', has: [name]});
  assert.deepEqual(JSON.parse(answer.text), {documents: [], hasMore: false});
});

await step('a unique value cannot be taken twice', async () => {
  await fails('DuplicateError', edv.insert({doc: {content: {serial: 1}}}));
  const second = await edv.get({id: books[1].id});
  second.content.serial = 1;
  await fails('InvalidStateError', edv.update({doc: second}));
  assert.deepEqual(serials(await edv.find({equals: {'content.serial': 1}})), [1]);
  assert.deepEqual(serials(await edv.find({equals: {'content.serial': 2}})), [2]);
});

await step('of eight inserts of one unique value just one is accepted', async () => {
  const tries = await Promise.allSettled(Array.from({length: 8}, () => edv.insert({doc: {content: {serial: 99}}})));
  assert.equal(tries.filter(t => t.status === 'fulfilled').length, 1);
  for(const {reason} of tries.filter(t => t.status === 'rejected')) {
    assert.equal(reason.name, 'DuplicateError', reason.message);
  }
  assert.equal(await edv.count({equals: {'content.serial': 99}}), 1);
});

await step('a unique pair cannot be taken twice, its halves can', async () => {
  await fails('DuplicateError', edv.insert({doc: {content: {serial: 5, shelf: 'a', place: 1}}}));
  await edv.insert({doc: {content: {serial: 5, shelf: 'a', place: 3}}});
});

await step('the holder keeps its unique value through an update, and finds follow the change', async () => {
  const doc = await edv.get({id: books[0].id});
  doc.content.kind = 'classic';
  await edv.update({doc});
  assert.deepEqual(serials(await edv.find({equals: {'content.kind': 'novel'}})), [2]);
  assert.deepEqual(serials(await edv.find({equals: {'content.kind': 'classic'}})), [1]);
});

await step('a deleted document is found no more and frees its unique value', async () => {
  await edv.delete({doc: await edv.get({id: books[3].id})});
  assert.equal(await edv.count({equals: {'content.serial': 4}}), 0);
  await edv.insert({doc: {content: {serial: 4, kind: 'reborn'}}});
  assert.deepEqual(serials(await edv.find({equals: {'content.kind': 'reborn'}})), [4]);
});

await step('an index entry is changed alone, under another key', async () => {
  const second = client(alice, vaultId);
  second.hmac = {...bob.hmac};
  second.ensureIndex({attribute: 'content.kind'});
  const doc = await edv.get({id: books[1].id});
  await second.updateIndex({doc});
  assert.deepEqual(serials(await second.find({equals: {'content.kind': 'novel'}})), [2]);
  // The document itself is as before, and so is the first key's entry.
  assert.deepEqual(serials(await edv.find({equals: {'content.serial': 2}})), [2]);
  const now = await edv.get({id: doc.id});
  assert.deepEqual(now.jwe, doc.jwe);
  assert.equal(now.indexed.length, 2);
});

await step('a stale index entry is refused', async () => {
  const doc = await edv.get({id: books[1].id});
  await edv.update({doc});
  await fails('InvalidStateError', edv.updateIndex({doc}));
});

await step('a stranger finds nothing out', async () => {
  const stranger = client(bob, vaultId);
  stranger.ensureIndex({attribute: 'content.kind'});
  await refused(403, stranger.find({equals: {'content.kind': 'novel'}}));
  await refused(403, stranger.count({equals: {'content.kind': 'novel'}}));
});

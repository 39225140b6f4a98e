// Delegation: capabilities handed on with the published client, what they allow and what they do not.
import assert from 'node:assert/strict';
import {client, forge, person, resolver, root, vault} from './people.mjs';
import {ask} from './wire.mjs';
import {base, fails, refused, step} from './steps.mjs';
import {EdvClient, EdvDocument} from '@digitalbazaar/edv-client';

const hour = 3600_000;
const alice = await person('alice of delegation');
const bob = await person('bob of delegation');
const carol = await person('carol of delegation');
const eve = await person('eve of delegation');
const {id: vaultId} = await vault(base, alice);
const edv = client(alice, vaultId, [bob, carol]);
edv.ensureIndex({attribute: 'content.kind'});

const reader = p => ({header: {kid: p.keyAgreementKey.id, alg: 'ECDH-ES+A256KW'}});
const insert = content => edv.insert({
  doc: {content}, recipients: [alice, bob, carol].map(reader), keyResolver: resolver(alice, bob, carol)
});
const doc = await insert({kind: 'shared'});
const other = await insert({kind: 'other'});
const documents = `${vaultId}/documents`;
const target = `${documents}/${doc.id}`;

/** A capability from one person to another; from the vault's root when no parent is named. */
const grant = (from, to, invocationTarget, {parent = root(vaultId), actions = ['read'], ...more} = {}) =>
  from.zcap.delegate({
    capability: parent, controller: to.did, invocationTarget, allowedActions: actions,
    expires: parent.expires ?? new Date(Date.now() + hour), ...more
  });
const get = (by, capability, id = doc.id) => client(by, vaultId).get({id, capability});

const toBob = await step('a delegate reads the document', async () => {
  const capability = await grant(alice, bob, target);
  assert.equal((await get(bob, capability)).content.kind, 'shared');
  return capability;
});

await step('also when only the capability says where it is', async () => {
  const there = new EdvDocument({
    capability: toBob, invocationSigner: bob.signer, keyAgreementKey: bob.keyAgreementKey
  });
  assert.equal((await there.read()).content.kind, 'shared');
  const answer = await bob.zcap.read({capability: toBob});
  assert.equal(answer.data.id, doc.id);
});

await step('but no other document', () => refused(403, get(bob, toBob, other.id)));

await step('and does not write it', async () => {
  const read = await get(bob, toBob);
  await refused(403, client(bob, vaultId, [alice, carol]).update({doc: read, capability: toBob}));
  assert.equal((await edv.get({id: doc.id})).sequence, 0);
});

await step('nor passes a write off as a read', async () => {
  const {id, sequence, indexed, jwe} = doc;
  const answer = await ask({
    url: target, method: 'post', action: 'read', by: bob, capability: toBob,
    json: {id, sequence: sequence + 1, indexed, jwe}
  });
  assert.equal(answer.status, 403, answer.text);
});

await step('nor reads the vault\'s configuration', async () => {
  const answer = await ask({url: vaultId, by: bob, capability: toBob});
  assert.equal(answer.status, 403, answer.text);
});

await step('nobody else uses it', async () => {
  await refused(403, get(eve, toBob));
  await refused(403, get(carol, toBob));
});

await step('a writer writes', async () => {
  const capability = await grant(alice, bob, target, {actions: ['read', 'write']});
  const read = await get(bob, capability);
  read.content.note = 'of bob';
  await client(bob, vaultId, [alice, carol]).update({doc: read, capability});
  assert.equal((await edv.get({id: doc.id})).content.note, 'of bob');
});

await step('a capability for all documents inserts, reads and queries', async () => {
  const capability = await grant(alice, bob, documents, {actions: ['read', 'write']});
  const bobs = new EdvClient({
    capability, hmac: alice.hmac, invocationSigner: bob.signer, keyAgreementKey: bob.keyAgreementKey,
    keyResolver: resolver(bob)
  });
  bobs.ensureIndex({attribute: 'content.kind'});
  const {id} = await bobs.insert({doc: {content: {kind: 'of bob'}}});
  assert.equal((await bobs.get({id})).content.kind, 'of bob');
  assert.equal((await bobs.find({equals: {'content.kind': 'of bob'}})).documents[0].id, id);
  assert.deepEqual((await bobs.find({equals: {'content.kind': 'of bob'}, returnDocuments: false})).documentIds, [id]);
  assert.equal(await bobs.count({equals: {'content.kind': 'of bob'}}), 1);
  await fails('DuplicateError', bobs.insert({doc: {id, content: {}}}));
});

await step('a capability for queries queries', async () => {
  const capability = await grant(alice, bob, `${vaultId}/query`);
  const bobs = client(bob, vaultId);
  bobs.ensureIndex({attribute: 'content.kind'});
  const how = {equals: {'content.kind': 'shared'}, hmac: alice.hmac, capability};
  assert.equal((await bobs.find(how)).documents[0].id, doc.id);
  assert.deepEqual((await bobs.find({...how, returnDocuments: false})).documentIds, [doc.id]);
  assert.equal(await bobs.count(how), 1);
  await refused(403, get(bob, capability));
});

await step('a capability to read the vault reads all of it and writes nothing', async () => {
  const capability = await grant(alice, bob, vaultId);
  assert.equal((await get(bob, capability)).id, doc.id);
  assert.equal((await client(bob, vaultId).getConfig({capability})).id, vaultId);
  await refused(403, client(bob, vaultId).insert({doc: {content: {}}, capability}));
});

await step('a capability without actions allows them all', async () => {
  const capability = await grant(alice, bob, target, {actions: []});
  assert.equal(capability.allowedAction, undefined);
  const read = await get(bob, capability);
  await client(bob, vaultId, [alice, carol]).update({doc: read, capability});
});

/** People and capabilities of a chain of n delegations, the first from alice. */
async function chain(n, change = () => ({})) {
  let from = alice;
  let parent;
  for(let i = 1; i <= n; i++) {
    const to = await person(`link ${i} of ${n}`);
    parent = await grant(from, to, target, {parent, ...change(i)});
    from = to;
  }
  return {last: from, capability: parent};
}

const linked = async ({last, capability}) => {
  const answer = await ask({url: target, by: last, capability});
  return answer.status;
};

for(const n of [2, 3, 4, 5, 9]) {
  await step(`a chain of ${n} delegations holds`, async () => {
    assert.equal(await linked(await chain(n)), 200);
  });
}

await step('a chain of 10 is too long', async () => {
  const {last, capability} = await chain(9);
  assert.equal(await linked({last: eve, capability: await forge(last, eve, {parent: capability, target})}), 403);
});

await step('narrowing on the way counts', async () => {
  const {last, capability} = await chain(3, i => ({actions: i < 2 ? ['read', 'write'] : ['read']}));
  assert.equal(await linked({last, capability}), 200);
  const answer = await ask({url: target, method: 'post', by: last, capability, json: {}});
  assert.equal(answer.status, 403, answer.text);
});

await step('what is forged as it should be is accepted', async () => {
  const capability = await forge(bob, carol, {parent: toBob, target, actions: ['read']});
  assert.equal(await linked({last: carol, capability}), 200);
});

await step('more actions than the parent allows are refused', async () => {
  const capability = await forge(bob, carol, {parent: toBob, target, actions: ['read', 'write']});
  assert.equal(await linked({last: carol, capability}), 403);
});

await step('all actions under a parent with one are refused', async () => {
  const capability = await forge(bob, carol, {parent: toBob, target});
  assert.equal(capability.allowedAction, undefined);
  assert.equal(await linked({last: carol, capability}), 403);
});

await step('a wider target than the parent\'s is refused', async () => {
  const capability = await forge(bob, carol, {parent: toBob, target: documents, actions: ['read']});
  await refused(403, get(carol, capability));
  await refused(403, get(carol, capability, other.id));
});

await step('a target beside the parent\'s is refused', async () => {
  const beside = `${documents}/${other.id}`;
  const capability = await forge(bob, carol, {parent: toBob, target: beside, actions: ['read']});
  await refused(403, get(carol, capability, other.id));
});

await step('a target that only begins like the parent\'s is refused', async () => {
  const parent = await grant(alice, bob, target.slice(0, -1));
  await refused(403, get(bob, parent));
});

await step('a longer life than the parent\'s is refused', async () => {
  const expires = new Date(Date.now() + 2 * hour).toISOString().slice(0, -5) + 'Z';
  const capability = await forge(bob, carol, {parent: toBob, target, actions: ['read'], expires});
  assert.equal(await linked({last: carol, capability}), 403);
});

await step('what has expired is refused', async () => {
  const then = Date.now() - 2 * hour;
  const capability = await grant(alice, bob, target, {now: then, expires: new Date(then + hour)});
  await refused(403, get(bob, capability));
});

await step('so is what expired further up', async () => {
  const then = Date.now() - 2 * hour;
  const life = () => ({now: then, expires: new Date(then + hour)});
  assert.equal(await linked(await chain(3, life)), 403);
});

await step('what begins in the future is refused', async () => {
  const then = Date.now() + hour;
  const capability = await grant(alice, bob, target, {now: then, expires: new Date(then + hour)});
  await refused(403, get(bob, capability));
});

await step('who does not hold it cannot hand it on', async () => {
  const capability = await forge(eve, carol, {parent: toBob, target, actions: ['read']});
  await refused(403, get(carol, capability));
});

await step('a stranger\'s own delegation of the root is worth nothing', async () => {
  await refused(403, get(eve, await grant(eve, eve, target)));
});

await step('a changed capability is refused', async () => {
  const changes = {
    controller: eve.did,
    invocationTarget: documents,
    expires: new Date(Date.now() + 2 * hour).toISOString().slice(0, -5) + 'Z',
    allowedAction: ['read', 'write'],
    id: 'urn:uuid:00000000-0000-4000-8000-000000000000',
    note: 'a member that no context defines'
  };
  for(const [member, value] of Object.entries(changes)) {
    const by = member === 'controller' ? eve : bob;
    const answer = await ask({url: target, by, capability: {...toBob, [member]: value}});
    assert.equal(answer.status, 403, `${member}: ${answer.status} ${answer.text}`);
  }
});

await step('a capability for one vault opens no other', async () => {
  const second = await vault(base, alice);
  const {id} = await second.edv.insert({doc: {content: {}}});
  const capability = await grant(alice, bob, vaultId);
  const answer = await ask({url: `${second.id}/documents/${id}`, by: bob, capability});
  assert.equal(answer.status, 403, answer.text);
});

await step('a root capability is named, never shown', async () => {
  const shown = {
    '@context': 'https://w3id.org/zcap/v1', id: root(vaultId), controller: eve.did, invocationTarget: vaultId,
    // The client sends a capability in full only when it has a parent.
    parentCapability: root(vaultId)
  };
  const answer = await ask({url: target, by: eve, capability: shown});
  assert.equal(answer.status, 403, answer.text);
});

await step('the root capability of a part is not the vault\'s', async () => {
  const answer = await ask({url: target, by: alice, capability: root(target)});
  assert.equal(answer.status, 403, answer.text);
});

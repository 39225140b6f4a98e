// Revocation: what was handed on is taken back, at once.
import assert from 'node:assert/strict';
import {client, person, root, vault} from './people.mjs';
import {ask} from './wire.mjs';
import {base, refused, step} from './steps.mjs';

const alice = await person('alice of revocation');
const bob = await person('bob of revocation');
const carol = await person('carol of revocation');
const dave = await person('dave of revocation');
const eve = await person('eve of revocation');
const {id: vaultId, edv} = await vault(base, alice);
const doc = await edv.insert({doc: {content: {}}});
const target = `${vaultId}/documents/${doc.id}`;

const expires = new Date(Date.now() + 1800_000); // one for all: none may end after what it hangs below
const grant = (from, to, parent = root(vaultId), invocationTarget = target, actions = ['read']) => from.zcap.delegate({
  capability: parent, controller: to.did, invocationTarget, allowedActions: actions, expires
});
const read = async (by, capability) => (await ask({url: target, by, capability})).status;
const revoke = (by, capabilityToRevoke, capability) =>
  client(by, vaultId).revokeCapability({capabilityToRevoke, capability, invocationSigner: by.signer});
const place = capability => `${vaultId}/zcaps/revocations/${encodeURIComponent(capability.id)}`;

await step('the owner revokes, and the next request is refused', async () => {
  const [toBob, again] = [await grant(alice, bob), await grant(alice, bob)];
  assert.equal(await read(bob, toBob), 200);
  await revoke(alice, toBob);
  assert.equal(await read(bob, toBob), 403);
  assert.equal(await read(bob, again), 200, 'another capability of the same person');
});

await step('what hangs below is refused too, what stands beside is not', async () => {
  const toBob = await grant(alice, bob);
  const toCarol = await grant(bob, carol, toBob);
  const toDave = await grant(carol, dave, toCarol);
  const toEve = await grant(bob, eve, toBob);
  assert.deepEqual([await read(carol, toCarol), await read(dave, toDave), await read(eve, toEve)], [200, 200, 200]);
  await revoke(bob, toCarol);
  assert.deepEqual([await read(carol, toCarol), await read(dave, toDave)], [403, 403]);
  assert.deepEqual([await read(bob, toBob), await read(eve, toEve)], [200, 200]);
});

await step('the owner revokes what others handed on', async () => {
  const toBob = await grant(alice, bob);
  const toCarol = await grant(bob, carol, toBob);
  await revoke(alice, toCarol);
  assert.deepEqual([await read(bob, toBob), await read(carol, toCarol)], [200, 403]);
});

await step('a delegate revokes his own', async () => {
  const toBob = await grant(alice, bob);
  await revoke(bob, toBob);
  assert.equal(await read(bob, toBob), 403);
});

await step('a delegate of delegates revokes her own, not her parents\'', async () => {
  const toBob = await grant(alice, bob);
  const toCarol = await grant(bob, carol, toBob);
  await refused(403, revoke(carol, toBob));
  assert.equal(await read(bob, toBob), 200);
  await revoke(carol, toCarol);
  assert.deepEqual([await read(bob, toBob), await read(carol, toCarol)], [200, 403]);
});

await step('a stranger revokes nothing', async () => {
  const toBob = await grant(alice, bob);
  await refused(403, revoke(eve, toBob));
  assert.equal(await read(bob, toBob), 200);
});

await step('a second revocation is refused', async () => {
  const toBob = await grant(alice, bob);
  await revoke(alice, toBob);
  await refused([403, 409], revoke(alice, toBob));
  assert.equal(await read(bob, toBob), 403);
});

await step('what is revoked cannot be used to revoke or to hand on', async () => {
  const toBob = await grant(alice, bob);
  const toCarol = await grant(bob, carol, toBob);
  await revoke(alice, toBob);
  await refused([403, 409], revoke(bob, toCarol));
  assert.equal(await read(carol, toCarol), 403);
  assert.equal(await read(dave, await grant(bob, dave, toBob)), 403);
});

await step('somebody may be given the right to revoke', async () => {
  const toBob = await grant(alice, bob);
  const right = await grant(alice, dave, root(vaultId), `${vaultId}/zcaps/revocations`, ['write']);
  const answer = await ask({url: place(toBob), method: 'post', by: dave, capability: right, json: toBob});
  assert.equal(answer.status, 204, answer.text);
  assert.equal(answer.text, '');
  assert.equal(await read(bob, toBob), 403);
});

await step('which the client then uses where it was given', async () => {
  const toBob = await grant(alice, bob);
  const right = await grant(alice, dave, root(vaultId), `${vaultId}/zcaps/revocations`, ['write']);
  await revoke(dave, toBob, right);
  assert.equal(await read(bob, toBob), 403);
  const collection = `${vaultId}/zcaps/revocations`;
  const another = await grant(alice, bob);
  const answer = await ask({url: collection, method: 'post', by: bob, capability: root(collection), json: another});
  assert.equal(answer.status, 403, answer.text);
  assert.equal(await read(bob, another), 200);
});

await step('or to revoke just one, as the client asks for it', async () => {
  const [toBob, other] = [await grant(alice, bob), await grant(alice, bob)];
  const right = await grant(alice, dave, root(vaultId), place(toBob), ['write']);
  await revoke(dave, toBob, right);
  assert.equal(await read(bob, toBob), 403);
  const answer = await ask({url: place(other), method: 'post', by: dave, capability: right, json: other});
  assert.equal(answer.status, 403, answer.text);
  assert.equal(await read(bob, other), 200);
});

await step('a revocation at another\'s address is refused', async () => {
  const [toBob, other] = [await grant(alice, bob), await grant(alice, bob)];
  const answer = await ask({url: place(other), method: 'post', by: alice, capability: root(place(other)), json: toBob});
  assert.equal(answer.status, 400, answer.text);
  assert.deepEqual([await read(bob, toBob), await read(bob, other)], [200, 200]);
});

await step('what is no capability of this vault is refused', async () => {
  const second = await vault(base, alice);
  const foreign = await grant(alice, bob, root(second.id), second.id);
  const toBob = await grant(alice, bob);
  const forged = {...toBob, controller: eve.did};
  const shown = {
    '@context': 'https://w3id.org/zcap/v1', id: root(vaultId), controller: alice.did, invocationTarget: vaultId
  };
  for(const [what, json] of Object.entries({foreign, forged, shown, unknown: {...toBob, extra: 1}, empty: {}})) {
    const url = place({id: toBob.id, ...json});
    const answer = await ask({url, method: 'post', by: alice, capability: root(url), json});
    assert([400, 403].includes(answer.status), `${what}: ${answer.status} ${answer.text}`);
  }
  assert.equal(await read(bob, toBob), 200);
});

await step('the owner is never locked out', async () => {
  assert.equal((await edv.get({id: doc.id})).id, doc.id);
});

// The commits and states of the published vectors, sent by the people who signed them.
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import sdk from '@decentralized-identity/hub-sdk-js';
import {step} from './steps.mjs';
import {Person} from './people.mjs';

const vectors = JSON.parse(readFileSync(new URL('../../internal/jose/testdata/hub-sdk-vectors.json', import.meta.url)));
const people = {};
for(const name of ['alice', 'bob']) {
  const {did, privateKeyJwk} = vectors.parties[name];
  people[did] = new Person(did, privateKeyJwk);
}
const alice = people['did:test:alice'];
for(const {name, commit, protectedHeaders, rev, object_id} of vectors.commits) {
  const signer = people[protectedHeaders.kid.split('#')[0]];
  const owner = people[protectedHeaders.sub];
  await step(`the commit "${name}" of ${signer === owner ? 'the owner' : 'another'}`, async () => {
    let revisions;
    try {
      revisions = await signer.send(owner, new sdk.SignedCommit(commit));
    } catch(error) {
      assert(signer !== owner, error.stack);
      assert.equal(error.getErrorCode(), 'permissions_required');
      return;
    }
    assert(revisions.includes(rev));
    const [back] = await owner.commits(owner, {revision: [rev]});
    const {protected: head, payload, signature} = back.toFlattenedJson();
    assert.deepEqual({head, payload, signature},
      {head: commit.protected, payload: commit.payload, signature: commit.signature});
    assert.equal(back.getObjectId(), object_id);
  });
}
await step('everything can be had again', async () => {
  const own = vectors.commits.filter(c => c.protectedHeaders.kid.startsWith('did:test:alice') &&
    c.protectedHeaders.sub === 'did:test:alice');
  const all = (await alice.commits(alice, {})).map(c => c.getRevision());
  for(const c of own) {
    assert(all.includes(c.rev));
  }
});
for(const [i, {commits, payload}] of vectors.states.entries()) {
  await step(`the state that the vectors have for the commits ${commits.join(', ')}`, async () => {
    const revs = commits.map(name => vectors.commits.find(c => c.name === name).rev);
    const own = (await alice.commits(alice, {revision: revs}));
    assert.equal(own.length, revs.length);
    assert.deepEqual(await new sdk.CommitStrategyBasic().resolveObject(own), payload);
    assert.deepEqual(await new sdk.CommitStrategyBasic().resolveObject(own.toReversed()), payload, `state ${i}`);
  });
}
await step('the grant among the vectors counts', async () => {
  const {allow, grantee, context, type} = vectors.commits.find(c => c.name === 'grant').payload;
  assert(allow.includes('R'));
  const found = await people[grantee].objects(alice, {context, type});
  assert.deepEqual(found.map(o => o.id), (await alice.objects(alice, {context, type})).map(o => o.id));
});

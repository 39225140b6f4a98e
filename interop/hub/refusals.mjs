// What the hub refuses, each for its reason.
import assert from 'node:assert/strict';
import {base, refused, step} from './steps.mjs';
import {hub, next, somebody} from './people.mjs';
import sdk from '@decentralized-identity/hub-sdk-js';

const schema = {context: 'http://schema.org', type: 'MusicPlaylist'};
const alice = somebody();
const mallory = somebody();
const [id] = await alice.write(alice, {committed_at: next()}, {title: 'Hers'});

/** A session that says something else than it should. */
function lying(person, claims) {
  const session = new sdk.HubSession({
    ...{hubEndpoint: `${base}/.identity`, hubDid: hub.did, resolver: person.session().authentication.resolver,
      clientDid: person.did, clientPrivateKey: person.key, targetDid: alice.did}
  });
  const send = session.makeRequest.bind(session);
  session.makeRequest = (text, token) => send(text && JSON.stringify({...JSON.parse(text), ...claims}), token);
  return session;
}
const query = () => new sdk.HubObjectQueryRequest({interface: 'Collections', ...schema});

await step('who writes the owner into iss is not the owner', async () => {
  await refused('permissions_required', 'iss', lying(mallory, {iss: alice.did}).send(query()));
});
await step('a request for another hub is not for this one', async () => {
  await refused('bad_request', 'aud', lying(alice, {aud: 'did:example:other'}).send(query()));
});
await step('a commit of the owner is not for others to send', async () => {
  const signed = await alice.commit(alice, {committed_at: next()}, {title: 'Caught'});
  await refused('bad_request', 'commit', mallory.send(alice, signed));
});
await step('a commit of another is not for the owner to sign', async () => {
  const signed = await mallory.commit(alice, {committed_at: next()}, {title: 'Not hers'});
  await refused('bad_request', 'commit', alice.send(alice, signed));
});
await step('a commit for another owner is not for this hub', async () => {
  const signed = await alice.commit(mallory, {committed_at: next()}, {title: 'Elsewhere'});
  await refused('bad_request', 'commit.protected.sub', alice.send(alice, signed));
});
await step('a forged signature is none', async () => {
  const signed = await alice.commit(alice, {committed_at: next()}, {title: 'True'});
  const other = await alice.commit(alice, {committed_at: next()}, {title: 'False'});
  const forged = new sdk.SignedCommit({...signed.toFlattenedJson(), signature: other.toFlattenedJson().signature});
  await refused('bad_request', 'commit', alice.send(alice, forged));
});
for(const [what, fields, target] of [
  ['an unknown interface', {interface: 'Secrets'}, 'commit.protected.interface'],
  ['an object id for what is created', {object_id: id}, undefined],
  ['an unknown operation', {operation: 'rename', object_id: id}, undefined],
  ['a time that is none', {committed_at: 'yesterday'}, 'commit.protected.committed_at'],
  ['a time far ahead', {committed_at: new Date(Date.now() + 3600_000).toISOString()}, 'commit.protected.committed_at'],
  ['an unknown strategy', {commit_strategy: 'coin toss'}, 'commit.protected.commit_strategy'],
  ['a revision that one chose oneself', {rev: id}, 'commit.protected.rev']
]) {
  await step(`${what} is refused`, async () => {
    const commit = await alice.commit(alice, {committed_at: next()}, {title: 'x'});
    // The client would refuse some of these itself.
    const made = new sdk.Commit({protected: {...commit.getProtectedHeaders(), ...fields}, payload: {title: 'x'}});
    made.validate = () => {};
    await refused('bad_request', target, alice.send(alice, await alice.signer.sign(made)));
  });
}
await step('what is not there is not found', async () => {
  for(const operation of ['update', 'delete']) {
    await refused('not_found', undefined,
      alice.write(alice, {operation, object_id: '0'.repeat(64), committed_at: next()}, {title: 'x'}));
    await refused('not_found', undefined,
      alice.write(alice, {operation, object_id: id, type: 'Song', committed_at: next()}, {title: 'x'}));
  }
});
await step('queries that make no sense are refused', async () => {
  await refused('bad_request', undefined, alice.page(alice, {context: schema.context}));
  await refused('bad_request', 'query.interface', alice.page(alice, {interface: undefined}));
  await refused('not_implemented', undefined, alice.commits(alice, {object_id: [id], revision: [id]}));
  await refused('bad_request', undefined, alice.page(alice, {...schema, skip_token: 'forged'}));
});
await step('an access token of another is none', async () => {
  const own = alice.session();
  own.currentAccessToken = await mallory.session(alice).getAccessToken();
  await refused('authentication_failed', undefined, own.makeRequest('{}', own.currentAccessToken));
});
await step('the client asks for a new token when its own is good no more', async () => {
  const own = alice.session();
  own.currentAccessToken = 'long expired';
  assert.equal((await alice.objects(alice, schema)).length, 1);
  assert.notEqual(own.currentAccessToken, 'long expired');
});
await step('what cannot be opened is answered in the clear, with 401', async () => {
  for(const body of ['', 'x', 'a.b.c.d.e', '{}']) {
    const r = await fetch(`${base}/.identity`, {method: 'POST', body, headers: {'content-type': 'application/jwt'}});
    assert.equal(r.status, 401);
    assert.equal((await r.json()).error_code, 'authentication_failed');
  }
  const r = await fetch(`${base}/.identity`, {method: 'POST', body: 'x', headers: {'content-type': 'text/plain'}});
  assert.equal(r.status, 400);
  assert((await r.json()).error_code);
});
await step('a key of 512 bits is no key', async () => {
  const {generateKeyPairSync} = await import('node:crypto');
  const {Person} = await import('./people.mjs');
  let jwk;
  try {
    jwk = generateKeyPairSync('rsa', {modulusLength: 512}).privateKey.export({format: 'jwk'});
  } catch{
    return; // this Node.js makes none either
  }
  const {kty, n, e} = jwk;
  const weak = new Person('did:jwk:' + Buffer.from(JSON.stringify({kty, n, e})).toString('base64url'), {...jwk, kid: '0'});
  await assert.rejects(weak.page(weak, schema));
});

// Vaults: making them, finding them, changing their configuration.
import assert from 'node:assert/strict';
import {client, person, root, vault} from './people.mjs';
import {ask, send} from './wire.mjs';
import {base, fails, refused, step} from './steps.mjs';
import {EdvClient} from '@digitalbazaar/edv-client';

const alice = await person('alice of vaults');
const bob = await person('bob of vaults');
const carol = await person('carol of vaults');
const url = `${base}/edvs`;

const {config, id, edv} = await step('a vault is made, with an id of the server\'s choice', async () => {
  const v = await vault(base, alice, {referenceId: 'main & only'});
  assert.match(v.id, /\/edvs\/z[1-9A-HJ-NP-Za-km-z]{20,26}$/);
  assert(v.id.startsWith(url + '/'), v.id);
  assert.equal(v.config.controller, alice.did);
  assert.equal(v.config.sequence, 0);
  assert.equal(v.config.referenceId, 'main & only');
  assert.deepEqual(v.config.hmac, {id: alice.hmac.id, type: alice.hmac.type});
  return v;
});

await step('making one answers 201 with its place and configuration', async () => {
  const made = await ask({
    url, method: 'post', by: bob, capability: root(url), json: {sequence: 0, controller: bob.did}
  });
  assert.equal(made.status, 201, made.text);
  assert.match(made.headers['content-type'], /json/);
  assert.equal(made.headers.location, JSON.parse(made.text).id);
});

await step('a stranger cannot make a vault for somebody else', () =>
  refused(403, EdvClient.createEdv({
    url, invocationSigner: bob.signer, config: {sequence: 0, controller: alice.did}
  })));

await step('nobody at all cannot make a vault', () =>
  refused(403, EdvClient.createEdv({url, config: {sequence: 0, controller: alice.did}})));

await step('a configuration that does not begin at 0 is refused', () =>
  refused(400, EdvClient.createEdv({
    url, invocationSigner: alice.signer, config: {sequence: 1, controller: alice.did}
  })));

await step('a second vault of the same reference id is a duplicate', () =>
  fails('DuplicateError', vault(base, alice, {referenceId: 'main & only'})));

await step('another person may use the reference id', async () => {
  const theirs = await vault(base, bob, {referenceId: 'main & only'});
  assert.notEqual(theirs.id, id);
});

await step('the owner finds it by reference id', async () => {
  const found = await EdvClient.findConfigs({
    url, controller: alice.did, referenceId: 'main & only', invocationSigner: alice.signer
  });
  assert.deepEqual(found, [config]);
});

await step('and finds nothing under another', async () => {
  const found = await EdvClient.findConfig({
    url, controller: alice.did, referenceId: 'other', invocationSigner: alice.signer
  });
  assert.equal(found, null);
});

await step('a stranger cannot look for the owner\'s vaults', () =>
  refused(403, EdvClient.findConfigs({
    url, controller: alice.did, referenceId: 'main & only', invocationSigner: bob.signer
  })));

await step('the owner reads the configuration', async () => {
  assert.deepEqual(await edv.getConfig(), config);
});

await step('a stranger does not, and cannot tell the vault from one that never was', async () => {
  const stranger = client(bob, id);
  await refused(403, stranger.getConfig());
  const never = await EdvClient.generateId();
  const known = [id, `${id}/documents/${never}`, `${id}/documents/${never}/chunks/0`];
  for(const there of known) {
    const missing = there.replace(id, `${url}/${never}`);
    const answers = await Promise.all([[there, id], [missing, `${url}/${never}`]].map(
      ([url, v]) => ask({url, by: bob, capability: root(v)})));
    assert.equal(answers[0].status, 403, answers[0].text);
    assert.equal(answers[1].status, answers[0].status);
    assert.equal(answers[1].text, answers[0].text);
    const names = answers.map(a => Object.keys(a.headers).filter(n => n !== 'date').sort());
    assert.deepEqual(names[1], names[0]);
  }
  await refused(403, stranger.insert({doc: {content: {}}}));
  const write = await ask({
    url: `${url}/${never}/documents`, method: 'post', by: bob, capability: root(`${url}/${never}`), json: {}
  });
  assert.equal(write.status, 403, write.text);
});

await step('without a signature nobody reads it', async () => {
  assert.equal((await send({url: id})).status, 403);
});

await step('the owner changes the configuration', async () => {
  await edv.updateConfig({config: {...config, sequence: 1, hmac: {id: 'urn:hmac:new', type: 'Sha256HmacKey2019'}}});
  const now = await edv.getConfig();
  assert.equal(now.sequence, 1);
  assert.equal(now.hmac.id, 'urn:hmac:new');
});

await step('a stale change is refused', () =>
  fails('InvalidStateError', edv.updateConfig({config: {...config, sequence: 1}})));

await step('the reference id stays', () =>
  refused(400, edv.updateConfig({config: {...config, sequence: 2, referenceId: 'else'}})));

await step('the id stays', () =>
  refused(400, edv.updateConfig({config: {...config, sequence: 2, id: id + '1'}})));

await step('a stranger changes nothing', async () => {
  await refused(403, client(bob, id).updateConfig({config: {...config, sequence: 2, controller: bob.did}}));
  assert.equal((await edv.getConfig()).sequence, 1);
});

await step('it cannot be handed to one who has a vault of that reference id', async () => {
  await fails('InvalidStateError', edv.updateConfig({config: {...config, sequence: 2, controller: bob.did}}));
  assert.equal((await edv.getConfig()).sequence, 1);
});

await step('the owner hands the vault over, and is a stranger from then on', async () => {
  await edv.updateConfig({config: {...config, sequence: 2, controller: carol.did}});
  assert.equal((await client(carol, id).getConfig()).controller, carol.did);
  await refused(403, edv.getConfig());
  const found = await EdvClient.findConfigs({
    url, controller: carol.did, referenceId: 'main & only', invocationSigner: carol.signer
  });
  assert.deepEqual(found.map(c => c.id), [id]);
});

await step('and may use its reference id again', async () => {
  assert.notEqual((await vault(base, alice, {referenceId: 'main & only'})).id, id);
});

// Requests below the clients: signatures, caching, what a browser asks first, and what is not routed.
import assert from 'node:assert/strict';
import {ask, send, signed} from './wire.mjs';
import {base, step} from './steps.mjs';
import {person, root, vault} from './people.mjs';

const alice = await person('alice of requests');
const bob = await person('bob of requests');
const {id: vaultId, edv} = await vault(base, alice);
const capability = root(vaultId);
const doc = await edv.insert({doc: {content: {n: 1}}});
const url = `${vaultId}/documents/${doc.id}`;
const get = {url, by: alice, capability};

const now = () => Math.floor(Date.now() / 1000);
const statusOf = async (headers, more = {}) => (await send({url, headers, ...more})).status;

await step('a signed request is answered with the bytes that were stored', async () => {
  // Spaces, order and escapes are the writer's.
  const {sequence, indexed, jwe} = await edv.get({id: doc.id});
  const id = await edv.generateId();
  const json = JSON.stringify({jwe, sequence: 0, indexed: indexed.map(e => ({...e, sequence: 0})), id});
  assert.equal(sequence, 0);
  const made = await ask({
    url: `${vaultId}/documents`, method: 'post', by: alice, capability, json: JSON.parse(json)
  });
  assert.equal(made.status, 201, made.text);
  assert.equal(made.text, '');
  assert.equal(made.headers.location, `${vaultId}/documents/${id}`);
  // The client parses whatever calls itself JSON, and nothing is not JSON.
  assert.doesNotMatch(made.headers['content-type'] ?? '', /json/);
  const answer = await ask({url: `${vaultId}/documents/${id}`, by: alice, capability});
  assert.equal(answer.status, 200);
  assert.equal(answer.text, json);
  assert.match(answer.headers['content-type'], /^application\/json/);
});

await step('an update is answered with 204 and nothing', async () => {
  const {id, indexed, jwe} = doc;
  const answer = await ask({
    url, method: 'post', by: alice, capability,
    json: {id, sequence: 1, indexed: indexed.map(e => ({...e, sequence: 1})), jwe}
  });
  assert.equal(answer.status, 204, answer.text);
  assert.equal(answer.text, '');
  assert.doesNotMatch(answer.headers['content-type'] ?? '', /json/);
});

await step('a tag saves sending what has not changed', async () => {
  const first = await ask(get);
  assert.equal(first.status, 200);
  const {etag} = first.headers;
  assert.match(etag, /^(W\/)?"[^"]+"$/);
  assert.match(first.headers['cache-control'], /private/);
  assert.match(first.headers['cache-control'], /no-cache/);
  const second = await ask({...get, headers: {'if-none-match': etag}});
  assert.equal(second.status, 304, second.text);
  assert.equal(second.text, '');
  assert.equal(second.headers.etag, etag);
  await edv.update({doc: await edv.get({id: doc.id})});
  const third = await ask({...get, headers: {'if-none-match': etag}});
  assert.equal(third.status, 200);
  assert.notEqual(third.headers.etag, etag);
});

await step('a tag tells a stranger nothing', async () => {
  const {headers: {etag}} = await ask(get);
  assert.equal((await ask({...get, by: bob, headers: {'if-none-match': etag}})).status, 403);
});

await step('a browser may ask from anywhere', async () => {
  const answer = await send({
    url, method: 'options', headers: {
      origin: 'https://app.example',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,capability-invocation,content-type,digest'
    }
  });
  assert.equal(answer.status, 204, answer.text);
  assert.equal(answer.headers['access-control-allow-origin'], '*');
  assert.match(answer.headers['access-control-allow-methods'], /\bPOST\b/);
  const allowed = answer.headers['access-control-allow-headers'].toLowerCase().split(/\s*,\s*/);
  for(const name of ['authorization', 'capability-invocation', 'content-type', 'digest']) {
    assert(allowed.includes(name), name);
  }
  assert(Number(answer.headers['access-control-max-age']) > 0);
});

await step('and sees where a document went and its tag, also when it is refused', async () => {
  for(const [by, status] of [[alice, 200], [bob, 403]]) {
    const answer = await ask({...get, by, headers: {origin: 'https://app.example'}});
    assert.equal(answer.status, status, answer.text);
    assert.equal(answer.headers['access-control-allow-origin'], '*');
    const exposed = answer.headers['access-control-expose-headers'].toLowerCase();
    assert.match(exposed, /\blocation\b/);
    assert.match(exposed, /\betag\b/);
  }
});

await step('errors are JSON with a name and a message', async () => {
  const answers = [
    await ask({...get, by: bob}),
    await ask({...get, url: `${vaultId}/documents/${await edv.generateId()}`}),
    await ask({...get, method: 'post', json: {}})
  ];
  assert.deepEqual(answers.map(a => a.status), [403, 404, 400]);
  for(const answer of answers) {
    assert.match(answer.headers['content-type'], /json/);
    const {name, message} = JSON.parse(answer.text);
    assert.equal(typeof name, 'string');
    assert.equal(typeof message, 'string');
    assert(message.length > 0);
    assert(!answer.text.includes(alice.did) && !answer.text.includes(doc.id), 'an error names nobody and nothing');
  }
});

await step('a request without a signature, or half of one, is refused', async () => {
  const headers = await signed(get);
  assert.equal(await statusOf(headers), 200);
  for(const name of ['authorization', 'capability-invocation']) {
    assert.equal(await statusOf(without(headers, name)), 403, name);
  }
  assert.equal(await statusOf({...headers, authorization: 'Bearer abc'}), 403);
  assert.equal(await statusOf({...headers, authorization: headers.authorization.slice(0, 40)}), 403);
  assert.equal(await statusOf({...headers, 'capability-invocation': 'zcap action="read"'}), 403);
});

function without(headers, name) {
  const rest = {...headers};
  delete rest[name];
  return rest;
}

await step('a signature of one key under another\'s name is refused', async () => {
  const headers = await signed({...get, by: {signer: {id: alice.signer.id, sign: bob.signer.sign}}});
  assert.equal(await statusOf(headers), 403);
});

await step('a signature holds for one request only', async () => {
  const headers = await signed(get);
  assert.equal(await statusOf(headers, {url: vaultId}), 403);
  assert.equal(await statusOf(headers, {url: `${url}?x=1`}), 403);
  assert.equal(await statusOf(headers, {method: 'post', body: '{}'}), 403);
});

await step('each signed part counts', async () => {
  const covered = (await signed(get)).authorization.match(/headers="([^"]+)"/)[1].split(' ');
  for(const part of ['(key-id)', '(created)', '(expires)', '(request-target)', 'host', 'capability-invocation']) {
    assert(covered.includes(part));
    // A valid signature over all parts but one: made by signing the shorter text.
    const headers = await signShort(covered.filter(p => p !== part));
    assert.equal(await statusOf(headers), 403, part);
  }
  assert.equal(await statusOf(await signShort(covered)), 200, 'the same over all of them');
});

/** Headers of a GET whose signature covers just the given parts. */
async function signShort(parts) {
  const created = now();
  const expires = created + 600;
  const {host, pathname} = new URL(url);
  const values = {
    '(key-id)': alice.signer.id, '(created)': created, '(expires)': expires, '(request-target)': `get ${pathname}`,
    host, 'capability-invocation': `zcap id="${capability}",action="read"`
  };
  const data = new TextEncoder().encode(parts.map(p => `${p}: ${values[p]}`).join('\n'));
  const signature = Buffer.from(await alice.signer.sign({data})).toString('base64');
  return {
    host,
    'capability-invocation': values['capability-invocation'],
    authorization: `Signature keyId="${alice.signer.id}",headers="${parts.join(' ')}",signature="${signature}",` +
      `created="${created}",expires="${expires}"`
  };
}

await step('a signature has its time', async () => {
  assert.equal(await statusOf(await signed({...get, created: now() - 7200, expires: now() - 3600})), 403, 'past');
  assert.equal(await statusOf(await signed({...get, created: now() + 3600, expires: now() + 7200})), 403, 'future');
  assert.equal(await statusOf(await signed({...get, created: now() - 30, expires: now() + 30})), 200, 'present');
});

await step('a body is what its digest says', async () => {
  const {id, indexed, jwe} = await edv.get({id: doc.id});
  const json = {id, sequence: 3, indexed, jwe};
  const headers = await signed({...get, method: 'post', json});
  const post = (headers, body) => statusOf(headers, {method: 'post', body});
  const other = await post(headers, JSON.stringify({...json, sequence: 4}));
  assert([400, 403].includes(other), `another body: ${other}`);
  assert.equal(await post(without(headers, 'digest'), JSON.stringify(json)), 403, 'no digest');
  assert.equal(await post(await signed({...get, method: 'post'}), JSON.stringify(json)), 403, 'digest not signed');
  assert.equal(await post(headers, JSON.stringify(json)), 204, 'the body that was signed');
});

await step('another host\'s name is refused', async () => {
  const there = new URL(url);
  there.hostname = 'vault.example';
  const headers = await signed({...get, url: there.href});
  assert.equal(headers.host, there.host);
  assert.equal(await statusOf(headers), 403);
});

await step('crooked paths lead nowhere', async () => {
  const {pathname} = new URL(url);
  const crooked = [
    pathname.replace('/documents/', '/documents/../documents/'), pathname.replace('/documents/', '//documents/'),
    pathname.replace('/documents/', '/%2e/documents/'), pathname.replace('/documents/', '%2fdocuments/'), pathname + '/'
  ];
  for(const path of crooked) {
    const headers = await signed(get);
    const answer = await send({url, headers, path});
    assert([403, 404].includes(answer.status), `${path.replace(pathname, '')}: ${answer.status}`);
  }
});

await step('what is not there is not there', async () => {
  for(const path of ['/edvs/x/y/z', '/nothing']) {
    assert.equal((await send({url: base + path})).status, 404, path);
  }
  const answer = await ask({url: `${vaultId}/nothing`, by: alice, capability});
  assert.equal(answer.status, 404);
});

await step('a body that is too large is refused', async () => {
  const headers = await signed({...get, method: 'post', json: {x: 'y'.repeat(33 << 20)}});
  const answer = await send({url, method: 'post', headers, body: JSON.stringify({x: 'y'.repeat(33 << 20)})})
    .catch(error => ({status: error.code}));
  assert([413, 'ECONNRESET', 'EPIPE'].includes(answer.status), String(answer.status));
  assert.equal((await ask(get)).status, 200, 'and the server goes on');
});

// People of the stories: an RSA key, the identifier that it makes, and sessions of the published client.
import {generateKeyPairSync} from 'node:crypto';
import {createRequire} from 'node:module';
import common from '@decentralized-identity/did-common-typescript';
import sdk from '@decentralized-identity/hub-sdk-js';
import {base} from './steps.mjs';

const {HubSession, HubWriteRequest, HubObjectQueryRequest, HubCommitQueryRequest, RsaCommitSigner, Commit,
  CommitStrategyBasic} = sdk;
const require = createRequire(import.meta.url);
const {default: RsaPrivateKey} = require('@decentralized-identity/did-auth-jose/dist/lib/crypto/rsa/RsaPrivateKey');

/** What the hub says of itself. */
export const hub = await (await fetch(`${base}/.identity`)).json();

// The node answers for the identifiers that the stories use, as a universal resolver does.
const resolver = new common.HttpResolver(base);

/** Somebody with a new key, of whom nobody has heard: the identifier is the key. */
export function somebody() {
  const {privateKey} = generateKeyPairSync('rsa', {modulusLength: 2048});
  const jwk = privateKey.export({format: 'jwk'});
  const {kty, n, e} = jwk;
  const did = 'did:jwk:' + Buffer.from(JSON.stringify({kty, n, e})).toString('base64url');
  return new Person(did, {...jwk, kid: '0'});
}

/** One who has a key that is registered under an identifier. */
export class Person {
  constructor(did, jwk) {
    this.did = did;
    this.key = RsaPrivateKey.wrapJwk(`${did}#${jwk.kid}`, jwk);
    this.signer = new RsaCommitSigner({did, key: this.key});
    this.sessions = new Map();
  }

  /** A session with somebody's hub. */
  session(owner = this, {hubDid = hub.did, endpoint = `${base}/.identity`} = {}) {
    const name = owner.did + ' ' + hubDid + ' ' + endpoint;
    if(!this.sessions.has(name)) {
      this.sessions.set(name, new HubSession({
        hubEndpoint: endpoint, hubDid, resolver, clientDid: this.did, clientPrivateKey: this.key, targetDid: owner.did
      }));
    }
    return this.sessions.get(name);
  }

  /** A signed commit. */
  async commit(owner, fields, payload, header) {
    return this.signer.sign(new Commit({
      protected: {
        committed_at: new Date().toISOString(), iss: this.did, sub: owner.did, interface: 'Collections',
        context: 'http://schema.org', type: 'MusicPlaylist', operation: 'create', commit_strategy: 'basic', ...fields
      },
      payload, header
    }));
  }

  /** Writes to somebody's hub; returns the revisions of the object. */
  async write(owner, fields, payload) {
    return this.send(owner, await this.commit(owner, fields, payload));
  }

  async send(owner, signed, options) {
    return (await this.session(owner, options).send(new HubWriteRequest(signed))).getRevisions();
  }

  /** One page of objects of somebody's hub. */
  async page(owner, query, options) {
    return this.session(owner, options).send(new HubObjectQueryRequest({interface: 'Collections', ...query}));
  }

  /** All objects of somebody's hub that a query finds, page by page. */
  async objects(owner, query) {
    const all = [];
    let skip_token;
    do {
      const page = await this.page(owner, {...query, ...(skip_token ? {skip_token} : {})});
      all.push(...page.getObjects());
      skip_token = page.hasSkipToken() ? page.getSkipToken() : undefined;
    } while(skip_token);
    return all;
  }

  /** All commits of somebody's hub that a query finds, page by page. */
  async commits(owner, query) {
    const all = [];
    let skip_token;
    do {
      const page = await this.session(owner).send(
        new HubCommitQueryRequest({...query, ...(skip_token ? {skip_token} : {})}));
      all.push(...page.getCommits());
      skip_token = page.hasSkipToken() ? page.getSkipToken() : undefined;
    } while(skip_token);
    return all;
  }

  /** The present state of an object, as the client has it: null when it was deleted. */
  async state(owner, id) {
    return new CommitStrategyBasic().resolveObject(await this.commits(owner, {object_id: [id]}));
  }

  /** Grants rights on a schema; returns the grant's id. */
  async grant(grantee, allow, more = {}, fields = {}) {
    const [id] = (await this.write(this, {
      interface: 'Permissions', context: 'schema.identity.foundation/0.1', type: 'PermissionGrant', ...fields
    }, {
      '@context': 'schema.identity.foundation/0.1', '@type': 'PermissionGrant',
      owner: this.did, grantee: grantee.did, context: 'http://schema.org', type: 'MusicPlaylist', allow, ...more
    }));
    return id;
  }
}

/** Moments one after the other, so that writes in one millisecond keep their order. */
let moment = Date.now() - 60_000;
export const next = () => new Date(moment++).toISOString();

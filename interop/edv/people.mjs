// People of the stories: keys from seeds, and the clients they use.
import {createHash, createHmac, createPrivateKey, createPublicKey, timingSafeEqual} from 'node:crypto';
import * as base58 from 'base58-universal';
import {Ed25519Signature2020} from '@digitalbazaar/ed25519-signature-2020';
import {Ed25519VerificationKey2020} from '@digitalbazaar/ed25519-verification-key-2020';
import {EdvClient} from '@digitalbazaar/edv-client';
import {X25519KeyAgreementKey2020} from '@digitalbazaar/x25519-key-agreement-key-2020';
import {ZcapClient} from '@digitalbazaar/ezcap';

/** The id of the root capability for a URL. */
export const root = url => `urn:zcap:root:${encodeURIComponent(url)}`;

/** A person whose keys all follow from one text, so that a story tells itself the same way each time. */
export async function person(seed) {
  const key = use => createHash('sha256').update(`${seed} ${use}`).digest();
  return fromSeeds({signing: key('signing'), agreement: key('agreement'), hmac: key('hmac')});
}

/**
 * A person from raw keys: an Ed25519 seed, an X25519 private key and an HMAC key of 32 bytes each. The ids of the last
 * two are what the vault's configuration or a document calls them.
 */
export async function fromSeeds({signing, agreement, agreementId, hmac, hmacId}) {
  const signKey = await Ed25519VerificationKey2020.generate({seed: signing});
  const did = `did:key:${signKey.fingerprint()}`;
  signKey.controller = did;
  signKey.id = `${did}#${signKey.fingerprint()}`;

  const agreementKey = agreement && x25519(agreement, did, agreementId);
  const p = {
    did,
    signer: signKey.signer(),
    keyAgreementKey: agreementKey,
    hmac: hmac && blinder(hmac, hmacId ?? `urn:hmac:${createHash('sha256').update(hmac).digest('hex').slice(0, 16)}`)
  };
  p.zcap = new ZcapClient({
    SuiteClass: Ed25519Signature2020, invocationSigner: p.signer, delegationSigner: p.signer
  });
  return p;
}

function x25519(privateKey, did, id) {
  const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), privateKey]);
  const spki = createPublicKey(createPrivateKey({key: pkcs8, format: 'der', type: 'pkcs8'}))
    .export({format: 'der', type: 'spki'});
  const multibase = (code, bytes) => 'z' + base58.encode(Buffer.concat([Buffer.from(code, 'hex'), bytes]));
  const publicKeyMultibase = multibase('ec01', spki.subarray(-32));
  return new X25519KeyAgreementKey2020({
    id: id ?? `${did}#${publicKeyMultibase}`,
    controller: did,
    publicKeyMultibase,
    privateKeyMultibase: multibase('8226', privateKey)
  });
}

function blinder(key, id) {
  const mac = data => new Uint8Array(createHmac('sha256', key).update(data).digest());
  return {
    id,
    type: 'Sha256HmacKey2019',
    sign: async ({data}) => mac(data),
    verify: async ({data, signature}) => timingSafeEqual(mac(data), signature)
  };
}

/** Resolves the agreement keys of the given people and of nobody else. */
export const resolver = (...people) => async ({id}) => {
  const found = people.find(p => p.keyAgreementKey.id === id);
  if(!found) {
    throw new Error('no such key');
  }
  return found.keyAgreementKey.export({publicKey: true});
};

/** A client of a person for a vault, which may be left out when a capability tells it. */
export const client = (p, id, readers = []) => new EdvClient({
  id,
  hmac: p.hmac,
  invocationSigner: p.signer,
  keyAgreementKey: p.keyAgreementKey,
  keyResolver: resolver(p, ...readers)
});

/** A new vault of a person, and the client to it. */
export async function vault(base, p, more = {}) {
  const config = await EdvClient.createEdv({
    url: `${base}/edvs`,
    invocationSigner: p.signer,
    config: {
      sequence: 0,
      controller: p.did,
      keyAgreementKey: {id: p.keyAgreementKey.id, type: p.keyAgreementKey.type},
      hmac: {id: p.hmac.id, type: p.hmac.type},
      ...more
    }
  });
  return {config, id: config.id, edv: client(p, config.id)};
}

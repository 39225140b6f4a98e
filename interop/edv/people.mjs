// People of the stories: keys from seeds, and the clients they use.
import {createHash, createHmac, randomUUID, timingSafeEqual} from 'node:crypto';
import {Ed25519Signature2020} from '@digitalbazaar/ed25519-signature-2020';
import {Ed25519VerificationKey2020} from '@digitalbazaar/ed25519-verification-key-2020';
import {EdvClient} from '@digitalbazaar/edv-client';
import {X25519KeyAgreementKey2020} from '@digitalbazaar/x25519-key-agreement-key-2020';
import jsigs from 'jsonld-signatures';
import {CapabilityDelegation} from '@digitalbazaar/zcap';
import {ZcapClient} from '@digitalbazaar/ezcap';

/** The id of the root capability for a URL. */
export const root = url => `urn:zcap:root:${encodeURIComponent(url)}`;

/** A person whose keys all follow from one text, so that a story tells itself the same way each time. */
export async function person(seed) {
  const key = use => createHash('sha256').update(`${seed} ${use}`).digest();
  return fromSeeds({signing: key('signing'), hmac: key('hmac'), hmacId: `urn:hmac:${key('hmac id').toString('hex')}`});
}

/**
 * A person from raw keys: an Ed25519 seed, which makes the X25519 key, too, and an HMAC key, of 32 bytes each, and what
 * the HMAC key is called.
 */
export async function fromSeeds({signing, hmac, hmacId = 'urn:hmac:of-the-story'}) {
  const keyPair = await Ed25519VerificationKey2020.generate({seed: signing});
  keyPair.controller = `did:key:${keyPair.fingerprint()}`;
  keyPair.id = `${keyPair.controller}#${keyPair.fingerprint()}`;
  const signer = keyPair.signer();
  return {
    did: keyPair.controller,
    signer,
    zcap: new ZcapClient({SuiteClass: Ed25519Signature2020, invocationSigner: signer, delegationSigner: signer}),
    keyAgreementKey: X25519KeyAgreementKey2020.fromEd25519VerificationKey2020({keyPair}),
    hmac: blinder(hmac, hmacId)
  };
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

/**
 * A capability that the published client would refuse to make, well signed all the same: for what only a server can
 * refuse.
 */
export const forge = (from, to, {parent, target, actions, expires = parent.expires}) => jsigs.sign({
  '@context': parent['@context'].slice(0, 1),
  id: `urn:uuid:${randomUUID()}`,
  controller: to.did,
  parentCapability: parent.id,
  invocationTarget: target,
  expires,
  ...(actions && {allowedAction: actions})
}, {
  documentLoader: from.zcap.documentLoader,
  suite: new Ed25519Signature2020({signer: from.signer}),
  purpose: new CapabilityDelegation({parentCapability: parent, _skipLocalValidationForTesting: true})
});

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

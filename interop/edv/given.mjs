// What the Go side hands to write.mjs, read.mjs and delegate.mjs: one JSON object on standard input, keys in hex.
import {client, fromSeeds} from './people.mjs';
import {json} from 'node:stream/consumers';

/**
 * Reads {vault, signing, hmac, hmacId, capability, indexes, ...rest} and returns the person, the person's client for
 * the vault, by the capability if there is one, and the rest.
 */
export async function given() {
  const {vault, signing, hmac, hmacId, capability, indexes = [], ...rest} = await json(process.stdin);
  const who = await fromSeeds({signing: Buffer.from(signing, 'hex'), hmac: Buffer.from(hmac, 'hex'), hmacId});
  const edv = client(who, vault);
  edv.capability = capability;
  for(const attribute of indexes) {
    edv.ensureIndex({attribute});
  }
  return {who, edv, vault, capability, ...rest};
}

// What the Go side hands to write.mjs and read.mjs: one JSON object on standard input, keys in hex.
import {client, fromSeeds} from './people.mjs';
import {json} from 'node:stream/consumers';

/** Reads {vault, signing, hmac, hmacId, ...rest} and returns the person's client for the vault, and the rest. */
export async function given() {
  const {vault, signing, hmac, hmacId, ...rest} = await json(process.stdin);
  const who = await fromSeeds({signing: Buffer.from(signing, 'hex'), hmac: Buffer.from(hmac, 'hex'), hmacId});
  const edv = client(who, vault);
  for(const attribute of rest.indexes ?? []) {
    edv.ensureIndex({attribute});
  }
  return {who, edv, ...rest};
}

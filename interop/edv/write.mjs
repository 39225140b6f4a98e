// Writes a document as the published client does, for others to read. Input: see given.mjs, with content and meta, for
// a stream its bytes in base64 and the chunk size, and update to change the document that is there already. Prints
// {"id", "sequence"}.
import {given} from './given.mjs';

const {edv, id, content, meta, stream, chunkSize, update} = await given();
const parts = {
  chunkSize, stream: stream === undefined ? undefined : new Blob([Buffer.from(stream, 'base64')]).stream()
};
const doc = update ?
  await edv.update({doc: {...await edv.get({id}), content}, ...parts}) :
  await edv.insert({doc: {id, content, meta}, ...parts});
console.log(JSON.stringify({id: doc.id, sequence: doc.sequence}));

// Writes a document as the published client does, for others to read. Input: see given.mjs, with content, meta, and for
// a stream its bytes in base64 and the chunk size. Prints {"id", "sequence"}.
import {given} from './given.mjs';

const {edv, id, content, meta, stream, chunkSize} = await given();
const bytes = stream === undefined ? undefined : Buffer.from(stream, 'base64');
const doc = await edv.insert({
  doc: {id, content, meta}, chunkSize, stream: bytes && new Blob([bytes]).stream()
});
console.log(JSON.stringify({id: doc.id, sequence: doc.sequence}));

// Reads a document that others wrote, as the published client does: by id, or the one that a filter finds. Input: see
// given.mjs, with id or equals. Prints {"id", "sequence", "content", "meta", "stream"}, the last in base64 if there is
// one.
import {buffer} from 'node:stream/consumers';
import {given} from './given.mjs';

const {edv, id, equals} = await given();
let doc;
if(id) {
  doc = await edv.get({id});
} else {
  const {documents} = await edv.find({equals});
  if(documents.length !== 1) {
    throw new Error(`${documents.length} documents found, want 1`);
  }
  doc = documents[0];
}
const stream = doc.stream && (await buffer(await edv.getStream({doc}))).toString('base64');
console.log(JSON.stringify({id: doc.id, sequence: doc.sequence, content: doc.content, meta: doc.meta, stream}));

// What a story expects of a refusal; its steps are those of all stories.
import assert from 'node:assert/strict';

export {base, step} from '../steps.mjs';

/** Expects a request to be refused with one of the given statuses; returns the error. */
export async function refused(statuses, request) {
  let error;
  try {
    await request;
  } catch(e) {
    error = e;
  }
  assert(error, `was accepted, want ${statuses}`);
  const status = error.status ?? error.cause?.status;
  assert([statuses].flat().includes(status), `status ${status}, want ${statuses}: ${error.message}`);
  return error;
}

/** Expects a request to fail with an error of the client's own naming. */
export async function fails(name, request) {
  await assert.rejects(request, {name});
}

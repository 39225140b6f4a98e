// What a story expects of a refusal; its steps are those of all stories.
import assert from 'node:assert/strict';
import sdk from '@decentralized-identity/hub-sdk-js';

export {base, step} from '../steps.mjs';

/** Expects a request to fail with an error of the hub's, with this code and about this part of the request. */
export async function refused(code, target, request) {
  let error;
  try {
    await request;
  } catch(e) {
    error = e;
  }
  assert(error, `was accepted, want ${code}`);
  assert(sdk.HubError.is(error), `is no answer of the hub: ${error.stack ?? error}`);
  assert.equal(error.getErrorCode(), code, error.message);
  if(target) {
    assert.equal(error.getTarget(), target, error.message);
  }
  assert(!JSON.stringify(error.body).includes('stack'), 'shows a stack');
  return error;
}

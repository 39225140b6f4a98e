// One line for each step of a story, and an end at the first step that fails.
import assert from 'node:assert/strict';
import {setTimeout as sleep} from 'node:timers/promises';
import sdk from '@decentralized-identity/hub-sdk-js';

// A server that never answers must not hold up the story for ever.
const limit = 60_000;

let last = 'the beginning';

/** Carries out one step and prints a line about it. */
export async function step(what, run) {
  last = what;
  const result = await Promise.race([
    run(),
    sleep(limit, undefined, {ref: false}).then(() => {
      throw new Error('took too long');
    })
  ]);
  console.log(`ok ${what}`);
  return result;
}

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

/** The server's base URL, from the command line. */
export const base = process.argv[2];

process.on('uncaughtException', error => {
  console.error(error.stack, JSON.stringify(error.body) ?? '');
  process.exit(1);
});
process.on('exit', code => {
  console.log(code === 0 ? 'done' : `FAILED after or in: ${last}`);
});
if(!base) {
  console.error('usage: node STORY.mjs BASE-URL');
  process.exit(2);
}

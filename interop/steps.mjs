// One line for each step of a story, and an end at the first step that fails.
import {setTimeout as sleep} from 'node:timers/promises';

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

/** The server's base URL, from the command line. */
export const base = process.argv[2];

process.on('uncaughtException', error => {
  for(let e = error; e; e = e.cause) {
    console.error(e.stack, e.status ?? '', JSON.stringify(e.data ?? e.body) ?? '');
  }
  process.exit(1);
});
process.on('exit', code => {
  console.log(code === 0 ? 'done' : `FAILED after or in: ${last}`);
});
if(!base) {
  console.error('usage: node STORY.mjs BASE-URL');
  process.exit(2);
}

// Hands on a right as the published client does. Input: see given.mjs, with the target, the actions and to whom; the
// parent is the capability, or else the vault's root. Prints the new capability.
import {given} from './given.mjs';
import {root} from './people.mjs';

const {who, vault, capability, target, actions, to} = await given();
console.log(JSON.stringify(await who.zcap.delegate({
  capability: capability ?? root(vault), controller: to, invocationTarget: target, allowedActions: actions,
  expires: capability?.expires ?? new Date(Date.now() + 600_000)
})));

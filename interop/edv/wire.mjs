// Requests below the clients: what is signed, sent and answered, as bytes.
import http from 'node:http';
import https from 'node:https';
import {signCapabilityInvocation} from '@digitalbazaar/http-signature-zcap-invoke';

/** The headers of a request signed by a person, as the published clients make them. */
export const signed = ({
  url, method = 'get', json, by, capability, action = method === 'get' ? 'read' : 'write', headers = {}, ...more
}) => signCapabilityInvocation({
  url, method, json, headers, capability, capabilityAction: action, invocationSigner: by.signer, ...more
});

/** Sends a request just so, and returns the answer's status, headers and text. */
export function send({url, method = 'get', headers = {}, body, path}) {
  const {hostname, port, pathname, search, protocol} = new URL(url);
  return new Promise((resolve, reject) => {
    const request = (protocol === 'https:' ? https : http).request({
      hostname, port, path: path ?? pathname + search, method: method.toUpperCase(), headers,
      agent: false, timeout: 20_000
    }, answer => {
      const parts = [];
      answer.on('data', part => parts.push(part));
      answer.on('error', reject);
      answer.on('end', () => resolve({
        status: answer.statusCode, headers: answer.headers, text: Buffer.concat(parts).toString('utf8')
      }));
    });
    request.on('timeout', () => request.destroy(new Error('no answer')));
    request.on('error', reject);
    request.end(body);
  });
}

/** Signs and sends a request with JSON or without. */
export async function ask({json, ...request}) {
  const headers = await signed({json, ...request});
  return send({url: request.url, method: request.method, headers, body: json && JSON.stringify(json)});
}

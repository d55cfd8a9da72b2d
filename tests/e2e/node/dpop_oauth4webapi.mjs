// Gets access tokens that are bound to a key as oauth4webapi's examples do, with the retry they have where the server wants a nonce,
// and calls a service with the second one where there is one. Settings come as JSON on standard input, the outcome goes to standard
// output.

import { readFileSync } from 'node:fs'
import { calculateJwkThumbprint, exportJWK } from 'jose'
import * as oauth from 'oauth4webapi'

const s = JSON.parse(readFileSync(0, 'utf8'))
const http = { [oauth.allowInsecureRequests]: true }
const issuer = new URL(s.issuer)
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...http }))
const [client, method] = [{ client_id: s.client }, oauth.ClientSecretBasic(s.secret)]
const keys = await oauth.generateKeyPair(s.algorithm)
const DPoP = oauth.DPoP(client, keys)
let retried = 0

async function again(ask) {
  try {
    return await ask()
  } catch (why) {
    if (!oauth.isDPoPNonceError(why)) throw why
    retried += 1
    return ask()
  }
}
const token = () =>
  again(async () => {
    const response = await oauth.clientCredentialsGrantRequest(server, client, method, new URLSearchParams({ scope: 'read' }), { DPoP, ...http })
    return oauth.processClientCredentialsResponse(server, client, response)
  })
const tokens = [await token(), await token()]
const answers = []
for (const [verb, url] of s.calls ?? []) {
  const call = () => oauth.protectedResourceRequest(tokens[1].access_token, verb, new URL(url), undefined, undefined, { DPoP, ...http })
  const response = await again(call)
  answers.push({ status: response.status, body: await response.text() })
}
console.log(JSON.stringify({ tokens, jkt: await calculateJwkThumbprint(await exportJWK(keys.publicKey)), answers, retried }))

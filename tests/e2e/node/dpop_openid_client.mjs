// The same as dpop_oauth4webapi.mjs, as openid-client's manual says: the library tries again by itself where the server wants a nonce.

import { readFileSync } from 'node:fs'
import { calculateJwkThumbprint, exportJWK } from 'jose'
import * as client from 'openid-client'

const s = JSON.parse(readFileSync(0, 'utf8'))
const config = await client.discovery(new URL(s.issuer), s.client, undefined, client.ClientSecretBasic(s.secret), {
  execute: [client.allowInsecureRequests],
})
const keys = await client.randomDPoPKeyPair(s.algorithm)
const DPoP = client.getDPoPHandle(config, keys)
const token = () => client.clientCredentialsGrant(config, { scope: 'read' }, { DPoP })
const tokens = [await token(), await token()]
const answers = []
for (const [verb, url] of s.calls ?? []) {
  const response = await client.fetchProtectedResource(config, tokens[1].access_token, new URL(url), verb, undefined, undefined, { DPoP })
  answers.push({ status: response.status, body: await response.text() })
}
console.log(JSON.stringify({ tokens, jkt: await calculateJwkThumbprint(await exportJWK(keys.publicKey)), answers }))

// Refreshes an access token as openid-client's manual says, by discovery. Settings come as JSON on standard input, the outcome goes to
// standard output: the first answer, the second one, and two refusals.

import { readFileSync } from 'node:fs'
import * as client from 'openid-client'
import { outcome } from './resource_server.mjs'

const s = JSON.parse(readFileSync(0, 'utf8'))
const configured = (secret) =>
  client.discovery(new URL(s.issuer), s.client, undefined, client.ClientSecretBasic(secret), { execute: [client.allowInsecureRequests] })
const right = await configured(s.secret)
const first = await client.genericGrantRequest(right, s.grant, { ...s.more, scope: s.scope })
const second = await client.refreshTokenGrant(right, first.refresh_token, { scope: s.narrower })
const third = await client.refreshTokenGrant(right, second.refresh_token)
const refused = await outcome(client.refreshTokenGrant(right, third.refresh_token, { scope: 'admin' }))
const unknown = await outcome(client.refreshTokenGrant(right, 'csref_AAAA'))
console.log(JSON.stringify({ first, second, third, refused, unknown }))

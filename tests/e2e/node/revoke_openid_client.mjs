// The same as revoke_oauth4webapi.mjs, as openid-client's manual says.

import { readFileSync } from 'node:fs'
import * as client from 'openid-client'

const s = JSON.parse(readFileSync(0, 'utf8'))
const configured = (id, more) =>
  client.discovery(new URL(s.issuer), id, more, client.ClientSecretPost(s.secret), { execute: [client.allowInsecureRequests] })
const [own, api] = [await configured(s.client), await configured(s.api)]
const token = (await client.clientCredentialsGrant(own, { scope: 'read' })).access_token
const before = await client.tokenIntrospection(api, token)
await client.tokenRevocation(own, token)
const after = await client.tokenIntrospection(api, token)
await client.tokenRevocation(own, 'unknown', { token_type_hint: 'refresh_token' })
console.log(JSON.stringify({ before, after }))

// Refreshes an access token as oauth4webapi's examples do. Settings come as JSON on standard input, the outcome goes to standard
// output: the first answer, the next two, and two refusals.

import { readFileSync } from 'node:fs'
import * as oauth from 'oauth4webapi'
import { outcome } from './resource_server.mjs'

const s = JSON.parse(readFileSync(0, 'utf8'))
const http = { [oauth.allowInsecureRequests]: true }
const issuer = new URL(s.issuer)
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...http }))
const [client, method] = [{ client_id: s.client }, oauth.ClientSecretPost(s.secret)]
const parameters = new URLSearchParams({ ...s.more, scope: s.scope })
const response = await oauth.genericTokenEndpointRequest(server, client, method, s.grant, parameters, http)
const first = await oauth.processGenericTokenEndpointResponse(server, client, response)
async function refresh(token, more) {
  const response = await oauth.refreshTokenGrantRequest(server, client, method, token, { ...http, additionalParameters: more })
  return oauth.processRefreshTokenResponse(server, client, response)
}
const second = await refresh(first.refresh_token, { scope: s.narrower })
const third = await refresh(second.refresh_token)
const refused = await outcome(refresh(third.refresh_token, { scope: 'admin' }))
const unknown = await outcome(refresh('csref_AAAA'))
console.log(JSON.stringify({ first, second, third, refused, unknown }))

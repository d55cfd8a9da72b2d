// Introspects and revokes an access token as oauth4webapi's examples do, with discovery. Settings come as JSON on standard input, the
// outcome goes to standard output: what the token is worth before and after, as JSON and as a signed answer.

import { readFileSync } from 'node:fs'
import * as oauth from 'oauth4webapi'

const s = JSON.parse(readFileSync(0, 'utf8'))
const http = { [oauth.allowInsecureRequests]: true }
const issuer = new URL(s.issuer)
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...http }))
const [client, method] = [{ client_id: s.client }, oauth.ClientSecretBasic(s.secret)]
const api = { client_id: s.api, introspection_signed_response_alg: s.algorithm }
async function introspect(token, signed) {
  const by = signed ? api : { client_id: s.api }
  const response = await oauth.introspectionRequest(server, by, method, token, { ...http, requestJwtResponse: signed })
  const answer = await oauth.processIntrospectionResponse(server, by, response)
  if (signed) await oauth.validateApplicationLevelSignature(server, response, http)
  return answer
}
const response = await oauth.clientCredentialsGrantRequest(server, client, method, new URLSearchParams({ scope: 'read' }), http)
const token = (await oauth.processClientCredentialsResponse(server, client, response)).access_token
const [before, signed] = [await introspect(token, false), await introspect(token, true)]
await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, method, token, http))
const [after, afterSigned] = [await introspect(token, false), await introspect(token, true)]
await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, method, 'unknown', http))
console.log(JSON.stringify({ before, signed, after, afterSigned }))

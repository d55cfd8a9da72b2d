// Gets an access token as oauth4webapi's examples do, by RFC 8414's discovery. Settings come as JSON on standard input, the outcome
// goes to standard output: the token, its claims as a resource server checks them with jose, and two refusals.

import { readFileSync } from 'node:fs'
import { importPKCS8 } from 'jose'
import * as oauth from 'oauth4webapi'
import { check, outcome } from './resource_server.mjs'

const s = JSON.parse(readFileSync(0, 'utf8'))
const http = { [oauth.allowInsecureRequests]: true }
const issuer = new URL(s.issuer)
const found = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...http })
const server = await oauth.processDiscoveryResponse(issuer, found)
const key = s.pem && { key: await importPKCS8(s.pem, s.algorithm), kid: s.kid }
const methods = {
  client_secret_basic: (secret) => oauth.ClientSecretBasic(secret),
  client_secret_post: (secret) => oauth.ClientSecretPost(secret),
  private_key_jwt: (_, kid) => oauth.PrivateKeyJwt({ ...key, kid }),
}
async function ask(secret, kid, scope) {
  const client = { client_id: s.client }
  const parameters = new URLSearchParams({ scope })
  const method = methods[s.method](secret, kid)
  if (s.grant) {
    for (const [name, value] of Object.entries(s.more)) parameters.set(name, value)
    const response = await oauth.genericTokenEndpointRequest(server, client, method, s.grant, parameters, http)
    return oauth.processGenericTokenEndpointResponse(server, client, response)
  }
  const response = await oauth.clientCredentialsGrantRequest(server, client, method, parameters, http)
  return oauth.processClientCredentialsResponse(server, client, response)
}

const token = await ask(s.secret, s.kid, s.scope)
const refused = await outcome(ask(s.secret, s.kid, 'admin'))
const wrong = await outcome(ask('wrong', 'wrong', s.scope))
console.log(JSON.stringify({ token, claims: await check(token.access_token, server), refused, wrong }))

// Gets an access token as openid-client's manual says, by discovery. Settings come as JSON on standard input, the outcome goes to
// standard output: the token, its claims as a resource server checks them with jose, and two refusals.

import { readFileSync } from 'node:fs'
import { importPKCS8 } from 'jose'
import * as client from 'openid-client'
import { check, outcome } from './resource_server.mjs'

const s = JSON.parse(readFileSync(0, 'utf8'))
const key = s.pem && { key: await importPKCS8(s.pem, s.algorithm), kid: s.kid }
const methods = {
  client_secret_basic: (secret) => client.ClientSecretBasic(secret),
  client_secret_post: (secret) => client.ClientSecretPost(secret),
  private_key_jwt: (_, kid) => client.PrivateKeyJwt({ ...key, kid }),
}
const configured = (secret, kid) =>
  client.discovery(new URL(s.issuer), s.client, undefined, methods[s.method](secret, kid), {
    execute: [client.allowInsecureRequests],
  })

const right = await configured(s.secret, s.kid)
const ask = (configuration, scope) =>
  s.grant
    ? client.genericGrantRequest(configuration, s.grant, { ...s.more, scope })
    : client.clientCredentialsGrant(configuration, { scope })
const token = await ask(right, s.scope)
const refused = await outcome(ask(right, 'admin'))
const wrong = await outcome(ask(await configured('wrong', 'wrong'), s.scope))
console.log(JSON.stringify({ token, claims: await check(token.access_token, right.serverMetadata()), refused, wrong }))

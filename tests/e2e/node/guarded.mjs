// A resource server: oauth4webapi checks access tokens by RFC 9068 at /jwt and asks the issuer about them at /opaque (RFC 7662); at /plain,
// jose takes what it takes by default. Settings come as one line of JSON on standard input; it ends when that does.

import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const s = JSON.parse((await lines.next()).value)
const http = { [oauth.allowInsecureRequests]: true }
const issuer = new URL(s.issuer)
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...http }))
const keys = createRemoteJWKSet(new URL(as.jwks_uri))
const [client, method] = [{ client_id: s.client }, oauth.ClientSecretBasic(s.secret)]
const token = (request) => request.headers.get('authorization')?.match(/^Bearer (.+)$/i)?.[1]

const ways = {
  '/jwt': (request) => oauth.validateJwtAccessToken(as, request, s.audience, http),
  '/plain': async (request) => (await jwtVerify(token(request) ?? '', keys, { issuer: s.issuer, audience: s.audience })).payload,
  async '/opaque'(request) {
    const response = await oauth.introspectionRequest(as, client, method, token(request) ?? 'none', http)
    const answer = await oauth.processIntrospectionResponse(as, client, response)
    // Section 2.2: what is not active is told nothing else, so this is all there is to check.
    if (!answer.active) throw new Refused('inactive')
    return answer
  },
}
class Refused extends Error {}
const refusals = [Refused, errors.JOSEError, oauth.WWWAuthenticateChallengeError, oauth.OperationProcessingError]

async function status(request, way) {
  try {
    const claims = await way(request)
    const allowed = (claims.scope ?? '').split(' ').includes('read')
    return [allowed ? 200 : 403, { sub: claims.sub, client: claims.client_id }]
  } catch (why) {
    // Anything else is a fault of this program, and no refusal.
    return [refusals.some((kind) => why instanceof kind) ? 401 : 500, { why: String(why) }]
  }
}

const server = createServer(async (incoming, outgoing) => {
  const request = new Request(new URL(incoming.url, 'http://127.0.0.1'), { method: incoming.method, headers: incoming.headers })
  const [code, body] = await status(request, ways[incoming.url])
  outgoing.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(body))
})
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` })))
await lines.next()
server.close()
server.closeAllConnections()

// oidc-provider as its documentation sets it up, on 127.0.0.1 and a port of the system's. Settings come as JSON on standard input: clients,
// and for which resources access tokens are made. Prints its issuer when it listens, and ends when standard input does.

import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import { generateKeyPair, exportJWK } from 'jose'
import Provider from 'oidc-provider'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const settings = JSON.parse((await lines.next()).value)

async function key(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true })
  return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `${alg}-1` }
}

const server = createServer()
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
const issuer = `http://127.0.0.1:${server.address().port}`
const provider = new Provider(issuer, {
  clients: settings.clients,
  jwks: { keys: [await key('RS256'), await key('ES256')] },
  fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined }),
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({
        audience: resource, scope: 'read write admin', accessTokenTTL: settings.lifetime ?? 600, accessTokenFormat: 'jwt',
        jwt: { sign: { alg: settings.algorithm ?? 'RS256' } },
      }),
    },
  },
  scopes: ['openid', 'read', 'write', 'admin'],
})
server.on('request', provider.callback())
console.log(JSON.stringify({ issuer }))
await lines.next()
server.close()
server.closeAllConnections()

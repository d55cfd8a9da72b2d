// An issuer for the tests: keys of every kind made by `jose`, published on loopback as Countersign publishes them.

import { createServer } from 'node:http'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'

export const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
export const PAGE = 'https://page.example'

export async function start() {
  const keys = {}
  for (const alg of ALGORITHMS) {
    const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true })
    keys[alg] = { privateKey, jwk: { ...(await exportJWK(publicKey)), kid: alg, alg, use: 'sig' } }
  }
  const issuer = {
    keys,
    set: { keys: Object.values(keys).map(({ jwk }) => jwk) },
    asked: 0,
    // What the next requests are answered with instead of the set; a function of the response.
    instead: undefined,
    claims,
    sign: (payload = claims(), { alg = 'ES256', key = keys[alg]?.privateKey, ...header } = {}) =>
      new SignJWT(payload).setProtectedHeader({ typ: 'upload+jwt', alg, kid: alg, ...header }).sign(key),
  }
  const server = createServer((request, response) => {
    issuer.asked++
    if (issuer.instead) return issuer.instead(response)
    response.setHeader('Content-Type', 'application/json')
    response.end(JSON.stringify(request.url === '/.well-known/jwks.json' ? issuer.set : {}))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  issuer.url = `http://127.0.0.1:${server.address().port}`
  issuer.stop = () => {
    server.close()
    server.closeAllConnections()
  }

  function claims(more = {}, upload = {}) {
    const now = Math.floor(Date.now() / 1000)
    const jti = '6f1c3f0e-9d0c-4f56-9a53-0a4b9d3a4f11'
    return {
      iss: issuer.url, sub: 'alice', aud: PAGE, jti, iat: now, exp: now + 300,
      upload: {
        method: 'POST', url: 'https://uploads.s3.eu-west-1.amazonaws.com/', key_prefix: 'uploads/alice/',
        fields: {
          key: 'uploads/alice/1.png', 'Content-Type': 'image/png', 'x-amz-meta-jti': jti, policy: 'e30=', 'x-amz-signature': '00',
        },
        content_types: ['image/png'], min_bytes: 1, max_bytes: 1000, expires: now + 300, ...upload,
      },
      ...more,
    }
  }
  return issuer
}

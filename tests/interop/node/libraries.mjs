// The JavaScript libraries under test, each used as its manual says, behind one signature.
//
// Keys come from discovery over HTTP and from nowhere else. Every call reads them anew, so that no cache can hide a
// wrong answer; those that fetch by themselves go on with what they have read where a call names a verifier to keep.

import { createPublicKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { JwtVerifier } from 'aws-jwt-verify'
import { SimpleJwksCache } from 'aws-jwt-verify/jwk'
import { createVerifier } from 'fast-jwt'
import * as jose from 'jose'
import jsonwebtoken from 'jsonwebtoken'

export const read = (file) => JSON.parse(readFileSync(file, 'utf8'))

// Library × algorithm: true, or the error with which the library says that it does not know the algorithm.
export const SUPPORT = read(new URL('../support.json', import.meta.url))

async function get(url) {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${url}: ${response.status}`)
  return response
}

// OpenID Connect Discovery 1.0 §4: the document must be for the issuer that was asked.
async function jwksUri(issuer) {
  const document = await (await get(`${issuer}/.well-known/openid-configuration`)).json()
  if (document.issuer !== issuer) throw new Error(`discovery is for ${document.issuer}`)
  return document.jwks_uri
}

async function keyNamed(kid, keysOf) {
  const { keys } = await (await get(await jwksUri(keysOf))).json()
  const jwk = keys.find((key) => key.kid === kid)
  if (!jwk) throw new Error('no such key')
  return createPublicKey({ key: jwk, format: 'jwk' })
}

const verifiers = new Map()

// The verifier of this name, or a new one.
async function keep(name, make) {
  if (!verifiers.has(name)) verifiers.set(name, await make())
  return verifiers.get(name)
}

// Name → verifier of tokens signed with a published key; gives the claims.
export const VERIFIERS = {
  async jose({ token, keysOf, issuer, audience, algorithm, kept }) {
    const make = async () => jose.createRemoteJWKSet(new URL(await jwksUri(keysOf)))
    const keys = await (kept ? keep(`jose ${kept}`, make) : make())
    return (await jose.jwtVerify(token, keys, { issuer, audience, algorithms: [algorithm] })).payload
  },

  jsonwebtoken: ({ token, keysOf, issuer, audience, algorithm }) =>
    new Promise((resolve, reject) => {
      const key = (header, done) => {
        keyNamed(header.kid, keysOf).then((found) => done(null, found), done)
      }
      const options = { issuer, audience, algorithms: [algorithm] }
      jsonwebtoken.verify(token, key, options, (why, claims) => (why ? reject(why) : resolve(claims)))
    }),

  async 'fast-jwt'({ token, keysOf, issuer, audience, algorithm }) {
    const key = async ({ header }) => (await keyNamed(header.kid, keysOf)).export({ type: 'spki', format: 'pem' })
    return createVerifier({ key, allowedIss: issuer, allowedAud: audience, algorithms: [algorithm] })(token)
  },

  // It fetches over https only by itself; its manual has the fetcher of one's own for everything else.
  async 'aws-jwt-verify'({ token, keysOf, issuer, audience, kept }) {
    const fetcher = { fetch: async (uri) => (await get(uri)).arrayBuffer() }
    const make = async () => {
      const keys = { jwksUri: await jwksUri(keysOf) }
      return JwtVerifier.create({ issuer, audience, ...keys }, { jwksCache: new SimpleJwksCache({ fetcher }) })
    }
    return (await (kept ? keep(`aws-jwt-verify ${kept}`, make) : make())).verify(token)
  }
}

// Name → verifier of tokens signed with a shared secret (bytes).
export const SECRET_VERIFIERS = {
  jose: async ({ token, secret, audience, algorithm }) =>
    (await jose.jwtVerify(token, secret, { audience, algorithms: [algorithm] })).payload,
  jsonwebtoken: async ({ token, secret, audience, algorithm }) =>
    jsonwebtoken.verify(token, secret, { audience, algorithms: [algorithm] }),
  'fast-jwt': async ({ token, secret, audience, algorithm }) =>
    createVerifier({ key: secret, allowedAud: audience, algorithms: [algorithm] })(token),
  // Its manual has `cacheJwks` for key sets that are not fetched.
  async 'aws-jwt-verify'({ token, secret, issuer, audience, algorithm }) {
    const verifier = JwtVerifier.create({ issuer, audience, jwksUri: `${issuer}/.well-known/jwks.json` })
    const kid = jose.decodeProtectedHeader(token).kid
    verifier.cacheJwks({ keys: [{ kty: 'oct', k: secret.toString('base64url'), kid, alg: algorithm, use: 'sig' }] })
    return verifier.verify(token)
  }
}

// What a library says when it refuses: the code or the name of its error, and the claim or message where that alone is
// the same for everything; null when it accepts.
export async function refusal(verdict) {
  try {
    await verdict
    return null
  } catch (why) {
    const name = why.code ?? why.constructor.name
    const vague = ['JsonWebTokenError', 'FAST_JWT_INVALID_CLAIM_VALUE', 'Error'].includes(name)
    const detail = why.claim ?? (vague ? why.message : '')
    return detail ? `${name}: ${detail}` : name
  }
}

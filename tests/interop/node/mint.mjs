// Makes tokens with jose and jsonwebtoken, with new keys, for `countersign verify`. Standard input: name → claims.
// Standard output: maker → algorithm → { jwk, tokens: name → token }.

import { createPrivateKey, createSecretKey } from 'node:crypto'
import * as jose from 'jose'
import jsonwebtoken from 'jsonwebtoken'

const ASYMMETRIC = 'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519'.split(' ')
const SYMMETRIC = 'HS256 HS384 HS512'.split(' ')

let input = ''
for await (const chunk of process.stdin) input += chunk
const wanted = Object.entries(JSON.parse(input))

// The key as JWK for the signer, and the one that goes to the verifier.
async function keys(alg) {
  if (SYMMETRIC.includes(alg)) {
    const secret = await jose.generateSecret(alg, { extractable: true })
    const jwk = { ...(await jose.exportJWK(secret)), kid: 'k', alg }
    return { own: jwk, jwk }
  }
  const { privateKey, publicKey } = await jose.generateKeyPair(alg, { extractable: true })
  const jwk = { ...(await jose.exportJWK(publicKey)), kid: 'k', alg, use: 'sig' }
  return { own: await jose.exportJWK(privateKey), jwk }
}

async function tokens(mint) {
  const made = await Promise.all(wanted.map(async ([name, claims]) => [name, await mint(claims)]))
  return Object.fromEntries(made)
}

const made = { jose: {}, jsonwebtoken: {} }
for (const alg of [...ASYMMETRIC, ...SYMMETRIC]) {
  const { own, jwk } = await keys(alg)
  const signer = await jose.importJWK(own, alg)
  const withJose = (claims) => new jose.SignJWT(claims).setProtectedHeader({ alg, kid: 'k', typ: 'JWT' }).sign(signer)
  made.jose[alg] = { jwk, tokens: await tokens(withJose) }

  // What it does not know, test_verify.py misses and has in its table.
  if (own.kty === 'OKP') continue
  const key = own.kty === 'oct' ? createSecretKey(own.k, 'base64url') : createPrivateKey({ key: own, format: 'jwk' })
  const withJsonwebtoken = (claims) => jsonwebtoken.sign(claims, key, { algorithm: alg, keyid: 'k' })
  made.jsonwebtoken[alg] = { jwk, tokens: await tokens(withJsonwebtoken) }
}
console.log(JSON.stringify(made))

// What jose, jsonwebtoken, fast-jwt and aws-jwt-verify read in tokens of Countersign, with keys found by discovery.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { read, refusal, SECRET_VERIFIERS, SUPPORT, VERIFIERS } from './libraries.mjs'

// The tokens of this run, made by conftest.py.
const { cases, shared } = read(process.env.INTEROP_CASES)
const OTHER_SECRET = Buffer.alloc(64, 'x')

const judge = (library, { algorithm, issuer, audience, tokens }, what) =>
  VERIFIERS[library]({ token: tokens[what], keysOf: issuer, issuer, audience, algorithm })

for (const library of Object.keys(VERIFIERS)) {
  for (const one of cases) {
    if (SUPPORT[library][one.algorithm] !== true) continue
    test(`${library} accepts ${one.algorithm} with all its claims`, async () => {
      const { iss, aud, iat, nbf, exp, jti, ...claims } = await judge(library, one, 'good')
      assert.deepEqual({ iss, aud }, { iss: one.issuer, aud: one.audience })
      assert.deepEqual({ ...claims }, JSON.parse(one.claims))
      assert.ok(iat === nbf && exp > iat && jti.length > 16)
    })
    test(`${library} accepts ${one.algorithm} for one of two audiences`, async () => {
      const claims = await judge(library, one, 'two audiences')
      assert.deepEqual(claims.aud, ['api://other', 'api://default'])
    })
  }

  for (const { algorithm, issuer, audience, secret, token } of shared) {
    const verify = (bytes) => SECRET_VERIFIERS[library]({ token, secret: bytes, issuer, audience, algorithm })
    const supported = SUPPORT[library][algorithm]
    if (supported !== true) {
      test(`${library} does not know ${algorithm}`, async () => {
        const seen = await refusal(verify(Buffer.from(secret, 'base64url')))
        assert.notEqual(seen, null, `${library} takes ${algorithm} now: set it to true in support.json`)
        assert.equal(seen, supported)
      })
      continue
    }
    test(`${library} accepts ${algorithm} with the shared secret and no other`, async () => {
      const claims = await verify(Buffer.from(secret, 'base64url'))
      assert.deepEqual([claims.iss, claims.sub], [issuer, 'alice'])
      assert.notEqual(await refusal(verify(OTHER_SECRET)), null)
    })
  }
}

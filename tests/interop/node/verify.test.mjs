// Tokens of Countersign in jose, jsonwebtoken, fast-jwt and aws-jwt-verify, with keys found by discovery.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cases, mixed, refusal, SECRET_VERIFIERS, shared, SUPPORT, VERIFIERS } from './libraries.mjs'

const OTHER_SECRET = Buffer.alloc(64, 'x')

// Token → library → what it must be refused with. Another answer would mean that something else was wrong with it.
const REFUSALS = {
  'changed payload': {
    jose: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED',
    jsonwebtoken: 'JsonWebTokenError: invalid signature',
    'fast-jwt': 'FAST_JWT_INVALID_SIGNATURE',
    'aws-jwt-verify': 'JwtInvalidSignatureError'
  },
  "another issuer's key": {
    jose: 'ERR_JWKS_NO_MATCHING_KEY',
    jsonwebtoken: 'JsonWebTokenError: error in secret or public key callback: no such key',
    'fast-jwt': 'FAST_JWT_KEY_FETCHING_ERROR',
    'aws-jwt-verify': 'KidNotFoundInJwksError'
  },
  'another audience': {
    jose: 'ERR_JWT_CLAIM_VALIDATION_FAILED: aud',
    jsonwebtoken: 'JsonWebTokenError: jwt audience invalid. expected: api://default',
    'fast-jwt': 'FAST_JWT_INVALID_CLAIM_VALUE: The aud claim value is not allowed.',
    'aws-jwt-verify': 'JwtInvalidAudienceError'
  },
  expired: {
    jose: 'ERR_JWT_EXPIRED: exp',
    jsonwebtoken: 'TokenExpiredError',
    'fast-jwt': 'FAST_JWT_EXPIRED',
    'aws-jwt-verify': 'JwtExpiredError'
  },
  'another issuer': {
    jose: 'ERR_JWT_CLAIM_VALIDATION_FAILED: iss',
    jsonwebtoken: 'JsonWebTokenError: jwt issuer invalid. expected: https://other.example',
    'fast-jwt': 'FAST_JWT_INVALID_CLAIM_VALUE: The iss claim value is not allowed.',
    'aws-jwt-verify': 'JwtInvalidIssuerError'
  }
}
REFUSALS['a forged kid'] = REFUSALS['changed payload']

function judge(library, { algorithm, issuer, audience, tokens }, what) {
  // The good token, for somebody who expects another issuer.
  const [name, expected] = what === 'another issuer' ? ['good', 'https://other.example'] : [what, issuer]
  return VERIFIERS[library]({ token: tokens[name], keysOf: issuer, issuer: expected, audience, algorithm })
}

for (const library of Object.keys(VERIFIERS)) {
  for (const one of cases) {
    const supported = SUPPORT[library][one.algorithm]
    if (supported !== true) {
      test(`${library} does not know ${one.algorithm}`, async () => {
        const seen = await refusal(judge(library, one, 'good'))
        assert.notEqual(seen, null, `${library} takes ${one.algorithm} now: set it to true in support.json`)
        assert.equal(seen, supported)
      })
      continue
    }
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
    for (const what of Object.keys(REFUSALS)) {
      test(`${library} refuses ${one.algorithm}: ${what}`, async () => {
        assert.equal(await refusal(judge(library, one, what)), REFUSALS[what][library])
      })
    }
  }

  for (const [algorithm, token] of Object.entries(mixed.tokens)) {
    test(`${library} finds the ${algorithm} key among those of all algorithms`, async () => {
      const { issuer, audience } = mixed
      const claims = await VERIFIERS[library]({ token, keysOf: issuer, issuer, audience, algorithm })
      assert.equal(claims.sub, 'alice')
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

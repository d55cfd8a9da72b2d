// A resource server's check of an access token with jose (RFC 9068 section 4), and what a refused request was answered.

import { createRemoteJWKSet, jwtVerify } from 'jose'

export async function check(token, { issuer, jwks_uri }) {
  const keys = createRemoteJWKSet(new URL(jwks_uri))
  const requiredClaims = ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti']
  const { payload } = await jwtVerify(token, keys, { issuer, audience: 'api://default', typ: 'at+jwt', requiredClaims })
  return payload
}

export async function outcome(promise) {
  try {
    await promise
    return 'accepted'
  } catch (why) {
    // To both libraries a 401 is its challenge, whatever the body says.
    const challenge = why.cause?.[0]?.scheme
    return challenge ? { status: why.status, challenge } : { error: why.error, status: why.status }
  }
}

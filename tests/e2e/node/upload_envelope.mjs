// Verifies a token around an upload as jose's manual says for a typed JWT, with the keys that discovery leads to. Settings come as JSON on
// standard input, the claims go to standard output.

import { readFileSync } from 'node:fs'
import { createRemoteJWKSet, jwtVerify } from 'jose'

const { issuer, audience, token } = JSON.parse(readFileSync(0, 'utf8'))
const found = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json()
const keys = createRemoteJWKSet(new URL(found.jwks_uri))
const expected = { issuer, audience, typ: 'upload+jwt', requiredClaims: ['exp', 'jti', 'sub', 'upload'] }
const { payload, protectedHeader } = await jwtVerify(token, keys, expected)
const other = await jwtVerify(token, keys, { ...expected, typ: 'at+jwt' }).catch((why) => why.code)
console.log(JSON.stringify({ payload, protectedHeader, other }))

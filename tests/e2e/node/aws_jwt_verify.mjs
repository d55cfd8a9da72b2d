// Verifies the token on standard input as aws-jwt-verify's manual says for any OIDC issuer, and prints its claims.
// It fetches the keys by itself, over https only. Arguments: issuer, audience.

import { readFileSync } from 'node:fs'
import { JwtVerifier } from 'aws-jwt-verify'

const [issuer, audience] = process.argv.slice(2)
try {
  const claims = await JwtVerifier.create({ issuer, audience }).verify(readFileSync(0, 'utf8').trim())
  console.log(JSON.stringify(claims))
} catch (why) {
  console.log(JSON.stringify({ refused: why.constructor.name }))
}

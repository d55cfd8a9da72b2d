// What AWS's own verifier makes of tokens of a load balancer, with the key at hand. Standard input:
// { tokens, jwk, arn, issuer, client }. Standard output: for each token its `sub`, or the name of the error.

import { AlbJwtVerifier } from 'aws-jwt-verify'

let input = ''
for await (const chunk of process.stdin) input += chunk

const { tokens, jwk, arn, issuer, client } = JSON.parse(input)
const verifier = AlbJwtVerifier.create({ albArn: arn, issuer, clientId: client })
verifier.cacheJwks({ keys: [jwk] })
const judged = (token) => verifier.verify(token).then((claims) => claims.sub, (error) => error.constructor.name)
console.log(JSON.stringify(await Promise.all(tokens.map(judged))))

// Reads a public PEM with node:crypto and prints it as JWK.
import { createPublicKey } from 'node:crypto'
import { readFileSync } from 'node:fs'

console.log(JSON.stringify(createPublicKey(readFileSync(0)).export({ format: 'jwk' })))

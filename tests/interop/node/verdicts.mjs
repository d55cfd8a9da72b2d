// Every line of standard input is a case, as tests/interop/judges.py writes it; every line of standard output its
// verdict. Lives until its input ends.

import { createInterface } from 'node:readline'
import { refusal, VERIFIERS } from './libraries.mjs'

for await (const line of createInterface({ input: process.stdin })) {
  const { library, token, issuer, audience, algorithm, kept } = JSON.parse(line)
  const verdict = VERIFIERS[library]({ token, keysOf: issuer, issuer, audience, algorithm, kept })
  const error = await refusal(verdict)
  process.stdout.write(JSON.stringify(error ? { error } : { claims: await verdict }) + '\n')
}

// Signs tokens with jose and jsonwebtoken. Standard input: a list of { maker, key: PEM (PKCS#8), header, claims }.
// Standard output: the tokens, in their order.

import { createPrivateKey } from 'node:crypto'
import * as jose from 'jose'
import jsonwebtoken from 'jsonwebtoken'

let input = ''
for await (const chunk of process.stdin) input += chunk

const sign = {
  jose: ({ key, header, claims }) => new jose.SignJWT(claims).setProtectedHeader(header).sign(createPrivateKey(key)),
  jsonwebtoken: ({ key, header, claims }) => {
    const { alg, kid, ...rest } = header
    // Its own `typ` where the issuer writes none is taken out again.
    return jsonwebtoken.sign(claims, key, { algorithm: alg, keyid: kid, header: { typ: undefined, ...rest } })
  },
}
console.log(JSON.stringify(await Promise.all(JSON.parse(input).map((wanted) => sign[wanted.maker](wanted)))))

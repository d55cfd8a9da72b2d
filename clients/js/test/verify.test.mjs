// Tokens that are taken and tokens that are not; `jose` judges each as well, and what it refuses is refused here.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { after, before, test } from 'node:test'
import { createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify } from 'jose'
import { upload, UploadError, verifyUpload } from '../lib/index.js'
import { ALGORITHMS, PAGE, start } from './issuer.mjs'

let issuer, options
before(async () => {
  issuer = await start()
  options = { issuer: issuer.url, audience: PAGE }
})
after(() => issuer.stop())

const encode = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const ECDSA = { name: 'ECDSA', hash: 'SHA-256' }
const now = () => Math.floor(Date.now() / 1000)

function judgedByJose(token, keys = issuer.set) {
  const demands = { issuer: issuer.url, audience: PAGE, typ: 'upload+jwt', requiredClaims: ['exp'], clockTolerance: 60 }
  return jwtVerify(token, createLocalJWKSet(keys), demands).then(() => true, () => false)
}

async function refused(token, code, more = {}) {
  const why = await verifyUpload(token, { ...options, ...more }).then(() => assert.fail('it was taken'), (why) => why)
  assert.ok(why instanceof UploadError, why)
  assert.equal(why.code, code, why.message)
  assert.match(why.message, /^[A-Z].*\.$/)
  return why
}

for (const alg of ALGORITHMS) {
  test(`takes a permission signed with ${alg}`, async () => {
    const token = await issuer.sign(issuer.claims(), { alg })
    const permission = await verifyUpload(token, options)
    assert.equal(permission.subject, 'alice')
    assert.equal(permission.key, 'uploads/alice/1.png')
    assert.equal(permission.maxBytes, 1000)
    assert.ok(await judgedByJose(token))
  })
}

test('what was verified cannot be changed, and nothing else is sent', async () => {
  const permission = await verifyUpload(await issuer.sign(), options)
  assert.throws(() => { permission.fields.key = 'other' }, TypeError)
  assert.throws(() => { permission.url = 'https://evil.example/' }, TypeError)
  assert.throws(() => { permission.contentType = 'text/html' }, TypeError)
  const copy = { ...permission }
  await assert.rejects(upload(new Blob(['x'], { type: 'image/png' }), copy), { code: 'not_verified' })
})

/** A header and claims that are signed as they are, whatever they are. */
async function raw(payload, header = {}) {
  const claims = Buffer.isBuffer(payload) ? payload.toString('base64url') : encode(payload)
  const signed = `${encode({ typ: 'upload+jwt', alg: 'ES256', kid: 'ES256', ...header })}.${claims}`
  const signature = await crypto.subtle.sign(ECDSA, issuer.keys.ES256.privateKey, Buffer.from(signed))
  return `${signed}.${Buffer.from(signature).toString('base64url')}`
}

/** A good token of which one part (0, 1, 2) is changed. */
async function changed(part, change) {
  const parts = (await issuer.sign()).split('.')
  parts[part] = change(parts[part])
  return parts.join('.')
}

const inBytes = (change) => (text) => change(Buffer.from(text, 'base64url')).toString('base64url')

// Name, the token, the code; and true where jose would take it, because this module is stricter there. `either`: versions of
// Node or jose differ.
const BAD = [
  ['an empty text', () => '', 'malformed'],
  ['not a text', () => ({}), 'malformed'],
  ['two parts', async () => (await issuer.sign()).split('.').slice(0, 2).join('.'), 'malformed'],
  ['a fourth part', async () => `${await issuer.sign()}.x`, 'malformed'],
  ['white space around it', async () => ` ${await issuer.sign()}`, 'malformed'],
  ['padding', async () => `${await issuer.sign()}==`, 'malformed', true],
  ['characters of base64', () => changed(2, (text) => `+${text.slice(1)}`), 'malformed', 'either'],
  ['bits that say nothing', async () => {
    // ES256: 64 bytes are 86 characters, of which the last has four bits that say nothing.
    const token = await issuer.sign()
    const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    return token.slice(0, -1) + last[last.indexOf(token.at(-1)) + 1]
  }, 'malformed', true],
  ['a header that is no JSON', () => changed(0, () => encode('{')), 'malformed'],
  ['a header that is a list', () => changed(0, () => encode([])), 'malformed'],
  ['more than 32 KiB', () => issuer.sign(issuer.claims({ more: 'x'.repeat(32768) })), 'malformed', true],
  ['no typ', () => issuer.sign(undefined, { typ: undefined }), 'wrong_type'],
  ['another typ', () => issuer.sign(undefined, { typ: 'JWT' }), 'wrong_type'],
  ['an access token', () => issuer.sign(undefined, { typ: 'at+jwt' }), 'wrong_type'],
  ['no kid', () => issuer.sign(undefined, { kid: undefined }), 'malformed', 'either'],
  ['a kid that is not published', () => issuer.sign(undefined, { kid: 'other' }), 'unknown_key'],
  ['crit', () => raw(issuer.claims(), { crit: ['x'], x: 1 }), 'malformed'],
  ['alg none', () => raw(issuer.claims(), { alg: 'none' }), 'algorithm_unsupported'],
  ['an HMAC with the public key', () => {
    const signed = `${encode({ typ: 'upload+jwt', alg: 'HS256', kid: 'ES256' })}.${encode(issuer.claims())}`
    const hmac = createHmac('sha256', JSON.stringify(issuer.keys.ES256.jwk)).update(signed)
    return `${signed}.${hmac.digest('base64url')}`
  }, 'algorithm_unsupported'],
  ['another algorithm than the one of the key', () => {
    const { privateKey } = issuer.keys.RS512
    return issuer.sign(undefined, { alg: 'RS512', kid: 'RS256', key: privateKey })
  }, 'algorithm_unsupported'],
  ['the algorithm of another kind of key', () => issuer.sign(undefined, { alg: 'RS256', kid: 'ES256' }), 'algorithm_unsupported'],
  ['another curve', () => issuer.sign(undefined, { alg: 'ES384', kid: 'ES256' }), 'algorithm_unsupported'],
  ['a key of its own in the header', async () => {
    const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
    return issuer.sign(undefined, { key: privateKey, jwk: await exportJWK(publicKey) })
  }, 'bad_signature'],
  ['a foreign signature', async () => {
    const { privateKey } = await generateKeyPair('ES256')
    return issuer.sign(undefined, { key: privateKey })
  }, 'bad_signature'],
  ['another payload', () => changed(1, () => encode(issuer.claims({ sub: 'mallory' }))), 'bad_signature'],
  ['another header', () => changed(0, () => encode({ typ: 'upload+jwt', alg: 'ES256', kid: 'ES256', x: 1 })), 'bad_signature'],
  ['a signature in DER', () => changed(2, inBytes((bytes) => {
    const integer = (half) => Buffer.concat([Buffer.from([2, 33, 0]), half])
    return Buffer.concat([Buffer.from([48, 70]), integer(bytes.subarray(0, 32)), integer(bytes.subarray(32))])
  })), 'bad_signature'],
  ['a signature cut off', () => changed(2, inBytes((bytes) => bytes.subarray(0, 63))), 'bad_signature'],
  ['a signature of zeros', () => changed(2, inBytes(() => Buffer.alloc(64))), 'bad_signature'],
  ['another issuer', () => issuer.sign(issuer.claims({ iss: 'https://evil.example' })), 'wrong_issuer'],
  ['the issuer with a slash', () => issuer.sign(issuer.claims({ iss: `${issuer.url}/` })), 'wrong_issuer'],
  ['no issuer', () => issuer.sign(issuer.claims({ iss: undefined })), 'wrong_issuer'],
  ['another audience', () => issuer.sign(issuer.claims({ aud: 'https://other.example' })), 'wrong_audience'],
  ['other audiences', () => issuer.sign(issuer.claims({ aud: ['https://other.example', `${PAGE}/`] })), 'wrong_audience'],
  ['no audience', () => issuer.sign(issuer.claims({ aud: undefined })), 'wrong_audience'],
  ['an audience that contains ours', () => issuer.sign(issuer.claims({ aud: `${PAGE}.evil.example` })), 'wrong_audience'],
  ['expired', () => issuer.sign(issuer.claims({ exp: now() - 61 })), 'expired'],
  ['no exp', () => issuer.sign(issuer.claims({ exp: undefined })), 'malformed'],
  ['exp as a text', () => raw(issuer.claims({ exp: String(now() + 300) })), 'malformed'],
  ['exp as null', () => raw(issuer.claims({ exp: null })), 'malformed'],
  ['nbf in the future', () => issuer.sign(issuer.claims({ nbf: now() + 120 })), 'not_yet_valid'],
  ['nbf as a text', () => raw(issuer.claims({ nbf: 'now' })), 'malformed'],
  ['iat as a text', () => raw(issuer.claims({ iat: 'now' })), 'malformed', 'either'],
  ['claims that are a list', () => raw([1]), 'malformed'],
  ['claims that are no JSON', () => raw('{"iss":'), 'malformed'],
  ['claims that are no UTF-8', () => raw(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])), 'malformed', 'either'],
]

for (const [name, make, code, stricter = false] of BAD) {
  test(`refuses ${name}, as jose does`, async () => {
    const token = await make()
    await refused(token, code)
    if (stricter !== 'either') assert.equal(await judgedByJose(token).catch(() => false), stricter, 'what jose says of it')
  })
}

// Members of `upload` and of the claims around it: each wrong or missing alone.
const INCOMPLETE = [
  ['no upload', { upload: undefined }], ['upload as a list', { upload: [] }],
  ['no jti', { jti: undefined }], ['no sub', { sub: undefined }],
  ['an empty sub', { sub: '' }], ['another jti than in the form', { jti: 'other' }],
  ...[
    ['method', 'PUT'], ['method', undefined], ['url', undefined], ['url', 'http://uploads.example/'],
    ['url', 'javascript:alert(1)'], ['url', 'https://user:pass@uploads.example/'], ['url', 'https://uploads.example/#x'],
    ['url', '/relative'], ['url', 7],
    ['fields', undefined], ['fields', []], ['fields', { key: 7 }], ['fields', {}],
    ['key_prefix', ''], ['key_prefix', undefined], ['key_prefix', 'uploads/bob/'], ['key_prefix', 7],
    ['content_types', undefined], ['content_types', []], ['content_types', 'image/png'], ['content_types', ['*/*']],
    ['content_types', ['']], ['content_types', ['image/jpeg']],
    ['content_types', ['image/png', 'image/png']],
    ['content_types', [7]], ['min_bytes', -1], ['min_bytes', 0.5], ['min_bytes', undefined], ['min_bytes', 1001],
    ['max_bytes', undefined], ['max_bytes', '1000'], ['max_bytes', 1e300], ['expires', undefined],
    ['expires', '2030-01-01T00:00:00Z'], ['sha256', 'x'], ['sha256', 7],
    ['sha256', `${'A'.repeat(43)}=`],
  ].map(([name, value]) => [`${name} = ${JSON.stringify(value)}`, {}, { [name]: value }]),
]
for (const [name, claims, member] of INCOMPLETE) {
  test(`refuses a permission with ${name}`, async () => {
    const token = await issuer.sign(issuer.claims(claims, member))
    await refused(token, 'bad_permission')
  })
}
for (const [name, change] of [
  ['a field named file', (fields) => { fields.file = 'x' }],
  ['a key that takes the name of the file', (fields) => { fields.key = 'uploads/alice/${filename}' }],
  ['a field that is no text', (fields) => { fields.policy = { x: 1 } }],
  ['another type in its form', (fields) => { fields['Content-Type'] = 'text/html' }],
  ['no type in its form', (fields) => { delete fields['Content-Type'] }],
  ['a checksum in its form alone', (fields) => { fields['x-amz-checksum-sha256'] = `${'A'.repeat(43)}=` }],
  ['65 fields', (fields) => { for (let n = 0; n < 65; n++) fields[`x-${n}`] = 'x' }],
]) {
  test(`refuses a permission with ${name}`, async () => {
    const claims = issuer.claims()
    change(claims.upload.fields)
    await refused(await issuer.sign(claims), 'bad_permission')
  })
}

test('the clock of the device may be off by the tolerance and no more', async () => {
  await refused(await issuer.sign(issuer.claims({}, { expires: now() - 61 })), 'expired')
  const late = await issuer.sign(issuer.claims({ exp: now() - 30 }, { expires: now() - 30 }))
  await verifyUpload(late, options)
  await refused(late, 'expired', { clockTolerance: 0 })
  const old = await issuer.sign(issuer.claims({ exp: now() - 400 }))
  await refused(old, 'expired', { clockTolerance: 1e9 })
  await refused(old, 'expired', { clockTolerance: NaN })
})

test('audiences may be a list', async () => {
  await verifyUpload(await issuer.sign(issuer.claims({ aud: ['https://other.example', PAGE] })), options)
})

test('what a page has left out is said by its name', async () => {
  const token = await issuer.sign()
  for (const missing of [undefined, null, {}, { audience: PAGE }, { audience: PAGE, issuer: 1 }]) {
    const why = await verifyUpload(token, missing).then(() => assert.fail('it was taken'), (why) => why)
    assert.ok(why instanceof UploadError, String(why))
    assert.equal(why.code, 'bad_issuer')
    assert.match(why.message, /`issuer`/)
  }
  for (const absent of [undefined, null, '', 1]) await refused(absent, 'malformed')
})

test('without an audience there has to be a page', async () => {
  for (const audience of [undefined, '', null, 1]) {
    const why = await refused(await issuer.sign(), 'no_audience', { audience })
    assert.match(why.message, /`audience`/)
  }
  globalThis.location = { origin: PAGE }
  await verifyUpload(await issuer.sign(), { issuer: issuer.url })
  delete globalThis.location
})

for (const bad of ['http://tokens.example', 'tokens.example', 'https://user@tokens.example', 'https://tokens.example/#a', '']) {
  test(`refuses the issuer ${JSON.stringify(bad)}`, async () => {
    await refused(await issuer.sign(), 'bad_issuer', { issuer: bad })
  })
}

test('an issuer without https is refused wherever its keys are', async () => {
  const jwks = `${issuer.url}/.well-known/jwks.json`
  const token = await issuer.sign(issuer.claims({ iss: 'http://tokens.example' }))
  await refused(token, 'bad_issuer', { issuer: 'http://tokens.example', jwks })
})

test('a page without https has no WebCrypto', async () => {
  const { crypto } = globalThis
  Object.defineProperty(globalThis, 'crypto', { value: {}, configurable: true })
  try {
    await refused('a.b.c', 'insecure_page')
  } finally {
    Object.defineProperty(globalThis, 'crypto', { value: crypto, configurable: true })
  }
})

test('a key that was not published yet is asked for once more, and only once', async () => {
  const token = await issuer.sign()
  const { set } = issuer
  let answers = [{ keys: [] }, set]
  issuer.instead = (response) => response.end(JSON.stringify(answers.shift()))
  await verifyUpload(token, options)
  answers = [{ keys: [] }, { keys: [] }, set]
  await refused(token, 'unknown_key')
  assert.equal(answers.length, 1)
  issuer.instead = undefined
})

test('nothing is asked for before the token is one', async () => {
  const before = issuer.asked
  await refused('x.y', 'malformed')
  await refused(await issuer.sign(undefined, { typ: 'JWT' }), 'wrong_type')
  assert.equal(issuer.asked, before)
})

for (const [name, answer] of [
  ['an error', (response) => { response.statusCode = 500; response.end('{}') }],
  ['a redirect', (response) => {
    if (response.req.url === '/moved') response.end(JSON.stringify(issuer.set))
    else response.writeHead(302, { Location: '/moved' }).end()
  }],
  ['no JSON', (response) => response.end('<html>')],
  ['no keys', (response) => response.end('{}')],
  ['null', (response) => response.end('null')],
  ['a connection that breaks', (response) => response.destroy()],
  ['more than 256 KiB', (response) => response.end(JSON.stringify({ keys: [], more: 'x'.repeat(300000) }))],
]) {
  test(`without keys nothing is taken: ${name}`, async () => {
    issuer.instead = answer
    try {
      await refused(await issuer.sign(), 'keys_unavailable')
    } finally {
      issuer.instead = undefined
    }
  })
}

for (const [name, change, code] of [
  ['two keys of one name', (key) => [key, key], 'bad_key'],
  ['a key for encryption', (key) => [{ ...key, use: 'enc' }], 'algorithm_unsupported'],
  ['a key that may not verify', (key) => [{ ...key, key_ops: ['sign'] }], 'algorithm_unsupported'],
  ['a key without a half', (key) => [{ ...key, y: undefined }], 'bad_key'],
  ['a point that is not on the curve', (key) => [{ ...key, y: key.x }], 'bad_key'],
  ['values that are no texts', (key) => [{ ...key, x: 7, y: {} }], 'bad_key'],
]) {
  test(`refuses ${name}`, async () => {
    issuer.instead = (response) => response.end(JSON.stringify({ keys: [null, 7, ...change(issuer.keys.ES256.jwk)] }))
    try {
      await refused(await issuer.sign(), code)
    } finally {
      issuer.instead = undefined
    }
  })
}

test('a private half that was published by mistake is not imported', async () => {
  const jwk = await exportJWK(issuer.keys.ES256.privateKey)
  issuer.instead = (response) => response.end(JSON.stringify({ keys: [{ ...jwk, kid: 'ES256', alg: 'ES256', ext: false }] }))
  await verifyUpload(await issuer.sign(), options)
  issuer.instead = undefined
})

test('RSA below 2048 bits is refused', async () => {
  const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]) }
  const { publicKey, privateKey } = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const { n, e } = await crypto.subtle.exportKey('jwk', publicKey)
  const signed = `${encode({ typ: 'upload+jwt', alg: 'RS256', kid: 'small' })}.${encode(issuer.claims())}`
  const signature = await crypto.subtle.sign(algorithm.name, privateKey, Buffer.from(signed))
  issuer.instead = (response) => response.end(JSON.stringify({ keys: [{ kty: 'RSA', kid: 'small', n, e }] }))
  await refused(`${signed}.${Buffer.from(signature).toString('base64url')}`, 'bad_key')
  issuer.instead = undefined
})

test('a browser without Ed25519 says so', async () => {
  const token = await issuer.sign(undefined, { alg: 'EdDSA' })
  const { importKey } = crypto.subtle
  crypto.subtle.importKey = () => Promise.reject(new DOMException('no', 'NotSupportedError'))
  try {
    await refused(token, 'algorithm_unsupported')
  } finally {
    crypto.subtle.importKey = importKey
  }
})

test('the keys may be elsewhere, when the page says so', async () => {
  const other = await start()
  const token = await issuer.sign(undefined, { key: other.keys.ES256.privateKey })
  await verifyUpload(token, { ...options, jwks: `${other.url}/.well-known/jwks.json` })
  await refused(token, 'bad_signature')
  await refused(token, 'bad_issuer', { jwks: 'http://evil.example/keys' })
  other.stop()
})

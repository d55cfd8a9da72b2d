// What is sent, how it is tried again, how it ends; against a server on loopback that answers as a test says.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import { after, before, beforeEach, test } from 'node:test'
import { checkFile, upload, UploadError, verifyUpload } from '../lib/index.js'
import { PAGE, start } from './issuer.mjs'
import { XMLHttpRequest } from './xhr.mjs'

globalThis.XMLHttpRequest = XMLHttpRequest

let issuer, storage, url
// What the storage has got, and what it answers next (a function of request and response, or a status); 204 if nothing is left.
let received, answers
before(async () => {
  issuer = await start()
  storage = createServer(async (request, response) => {
    const chunks = []
    for await (const chunk of request) chunks.push(chunk)
    const headers = { 'Content-Type': request.headers['content-type'] }
    received.push([...(await new Response(Buffer.concat(chunks), { headers }).formData()).entries()])
    const answer = answers.shift() ?? 204
    if (typeof answer === 'function') return answer(request, response)
    response.writeHead(answer, { ETag: '"abc"' }).end()
  })
  await new Promise((resolve) => storage.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${storage.address().port}/`
})
beforeEach(() => {
  received = []
  answers = []
})
after(() => {
  issuer.stop()
  storage.close()
  storage.closeAllConnections()
})

const permit = async (more = {}, change = () => {}) => {
  const claims = issuer.claims({}, { url, ...more })
  change(claims)
  return verifyUpload(await issuer.sign(claims), { issuer: issuer.url, audience: PAGE, clockTolerance: 0 })
}
const png = (size = 10) => new Blob(['x'.repeat(size)], { type: 'image/png' })

async function refused(promise, code, says) {
  const why = await promise.then(() => assert.fail('it was sent'), (why) => why)
  assert.ok(why instanceof UploadError, why)
  assert.equal(why.code, code, why.message)
  assert.match(why.message, says)
  return why
}

test('the form is what was signed, and the file is its last field', async () => {
  const progress = []
  const done = await upload(png(), await permit(), { onProgress: (one) => progress.push(one) })
  assert.deepEqual(done, { key: 'uploads/alice/1.png', id: '6f1c3f0e-9d0c-4f56-9a53-0a4b9d3a4f11', attempts: 1, etag: '"abc"' })
  const [form] = received
  assert.deepEqual(form.map(([name]) => name), ['key', 'Content-Type', 'x-amz-meta-jti', 'policy', 'x-amz-signature', 'file'])
  assert.equal(await form.at(-1)[1].text(), 'xxxxxxxxxx')
  assert.deepEqual(progress.at(-1), { sent: 10, total: 10, attempt: 1 })
  assert.ok(progress.every(({ sent, total }) => sent >= 0 && sent <= total))
})

test('a page may say the type of a file that does not know it', async () => {
  await upload(new Blob(['x']), await permit(), { type: 'image/png' })
  assert.equal(received[0].find(([name]) => name === 'Content-Type')[1], 'image/png')
})

for (const [name, size, type, code, says] of [
  ['an empty file', 0, 'image/png', 'file_too_small', /has 0 bytes; at least 1 bytes/],
  ['a file that is one byte too large', 1001, 'image/png', 'file_too_large', /has 1,001 bytes; at most 1 kB/],
  ['another type', 10, 'image/svg+xml', 'file_type', /is image\/svg\+xml; it must be image\/png/],
  ['a longer type', 10, 'image/pngx', 'file_type', /it must be image\/png/],
  ['no type', 10, '', 'file_type', /of an unknown type/],
  ['a family of types', 10, 'image/*', 'file_type', /it must be image\/png/],
]) {
  test(`nothing is sent of ${name}`, async () => {
    await refused(upload(new Blob(['x'.repeat(size)], { type }), await permit()), code, says)
    assert.equal(received.length, 0)
  })
}

test('a file is what its SHA-256 says', async () => {
  const sha256 = createHash('sha256').update('x'.repeat(10)).digest('base64')
  const permission = await permit({ sha256 }, ({ upload }) => { upload.fields['x-amz-checksum-sha256'] = sha256 })
  await upload(png(), permission)
  await refused(upload(png(9), permission), 'file_changed', /contents differ/)
  assert.equal(received.length, 1)
  const gone = png()
  gone.arrayBuffer = () => Promise.reject(new DOMException('gone', 'NotFoundError'))
  await refused(upload(gone, permission), 'file_unreadable', /choose it again/)
})

test('a page can ask before it sends', async () => {
  await checkFile(png(), await permit())
  await refused(checkFile(png(2000), await permit()), 'file_too_large', /2 kB/)
  assert.equal(received.length, 0)
})

test('trouble that passes is waited for', async () => {
  answers = [503, 500, (request) => request.socket.destroy(), 204]
  const attempts = new Set()
  const done = await upload(png(), await permit(), { onProgress: ({ attempt }) => attempts.add(attempt) })
  assert.equal(done.attempts, 4)
  assert.deepEqual([...attempts], [1, 2, 3, 4])
  assert.deepEqual(new Set(received.map((form) => form.length)), new Set([6]))
})

test('it gives up after as many attempts as were asked for', async () => {
  answers = [503, 503, 503]
  const why = await refused(upload(png(), await permit(), { retries: 1 }), 'refused', /has trouble at the moment/)
  assert.equal(why.status, 503)
  assert.equal(received.length, 2)
})

test('a refusal is final, and says why', async () => {
  const refusals = { EntityTooLarge: /takes at most 1 kB/, SignatureDoesNotMatch: /signature/, Unheard: /refused the file/ }
  for (const [code, says] of Object.entries(refusals)) {
    received = []
    answers = [(_, response) => response.writeHead(403).end(`<Error><Code>${code}</Code><Message>secret</Message></Error>`)]
    const why = await refused(upload(png(), await permit()), 'refused', says)
    assert.deepEqual([why.status, why.storageCode, received.length], [403, code, 1])
  }
})

test('nobody there', async () => {
  const closed = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => closed.once('listening', resolve))
  const permission = await permit({ url: `http://127.0.0.1:${closed.address().port}/` })
  await new Promise((resolve) => closed.close(resolve))
  await refused(upload(png(), permission, { retries: 0 }), 'unreachable', /could not be reached/)
})

test('a storage that says nothing is left', async () => {
  answers = [() => {}]
  await refused(upload(png(), await permit(), { retries: 0, stallTimeout: 200 }), 'unreachable', /could not be reached/)
})

test('no attempt is begun after the end of the permission', async () => {
  const end = Math.floor(Date.now() / 1000) + 2
  const permission = await permit({ expires: end })
  answers = [(_, response) => setTimeout(() => response.writeHead(503).end(), end * 1000 - Date.now() + 50)]
  await refused(upload(png(), permission), 'expired', /run out/)
  assert.equal(received.length, 1)
  await refused(upload(png(), permission), 'expired', /run out/)
  // Nor with a permission whose date was changed, for it can be.
  permission.expires.setTime(Date.now() + 60_000)
  await refused(upload(png(), permission), 'expired', /run out/)
  assert.equal(received.length, 1)
})

test('an upload can be stopped before, during and between attempts', async () => {
  await refused(upload(png(), await permit(), { signal: AbortSignal.abort() }), 'aborted', /stopped/)
  assert.equal(received.length, 0)

  const during = new AbortController()
  answers = [() => during.abort()]
  await refused(upload(png(), await permit(), { signal: during.signal }), 'aborted', /stopped/)
  assert.equal(received.length, 1)

  const between = new AbortController()
  answers = [(_, response) => {
    response.writeHead(503).end()
    setTimeout(() => between.abort(), 50)
  }]
  await refused(upload(png(), await permit(), { signal: between.signal }), 'aborted', /stopped/)
  assert.equal(received.length, 2)
})

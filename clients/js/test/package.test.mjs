// What is published: how large it is, what is in it, and that the README says so.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const LIMIT = 5000
const folder = new URL('..', import.meta.url)
const read = (name) => readFileSync(new URL(name, folder))

test(`minified and compressed it has at most ${LIMIT} bytes`, () => {
  const size = gzipSync(read('dist/countersign-upload.min.js'), { level: 9 }).length
  assert.ok(size <= LIMIT, `${size} bytes`)
  const [, said] = /\*\*([\d.]+) kB\*\* minified/.exec(read('README.md'))
  // Versions of zlib differ by a few bytes.
  assert.ok(Math.abs(said - size / 1000) < 0.1, `README.md says ${said} kB, it is ${size} bytes`)
})

test('it is one file without imports, and the same module', async () => {
  assert.doesNotMatch(String(read('dist/countersign-upload.min.js')), /\bimport\b/)
  const [whole, small] = await Promise.all([import('countersign-upload'), import('countersign-upload/min.js')])
  assert.deepEqual(Object.keys(whole).sort(), ['UploadError', 'checkFile', 'upload', 'verifyUpload'])
  assert.deepEqual(Object.keys(small).sort(), Object.keys(whole).sort())
})

test('the package has the module, its types, a README and the licence, and nothing else', () => {
  const pack = ['pack', '--dry-run', '--json', '--silent', '--ignore-scripts']
  const [{ files }] = JSON.parse(execFileSync('npm', pack, { cwd: fileURLToPath(folder) }))
  const names = files.map(({ path }) => path)
  for (const wanted of ['README.md', 'package.json', 'lib/index.js', 'lib/index.d.ts', 'dist/countersign-upload.min.js']) {
    assert.ok(names.includes(wanted), wanted)
  }
  assert.ok(names.every((name) => /^(dist|lib)\/|^(README\.md|package\.json|LICENSE)$/.test(name)), names.join('\n'))
  assert.deepEqual(JSON.parse(read('package.json')).dependencies, undefined)
})

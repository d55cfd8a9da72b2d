// What the types promise; compiled by `npm test` and never run.

import { checkFile, upload, UploadError, verifyUpload, type VerifiedUpload } from '../lib/index.js'

export async function used(file: File, token: string): Promise<string> {
  const permission: VerifiedUpload = await verifyUpload(token, { issuer: 'https://tokens.example' })
  // @ts-expect-error the issuer is never left out
  await verifyUpload(token, {})
  // @ts-expect-error a token is no permission
  await upload(file, token)
  // @ts-expect-error what was signed is not changed
  permission.url = 'https://evil.example/'
  // @ts-expect-error nor are the fields
  permission.fields.key = 'x'
  await checkFile(file, permission)
  const { key, etag } = await upload(file, permission, {
    type: 'image/png',
    onProgress: ({ sent, total }) => console.log(sent / total),
    signal: new AbortController().signal,
    retries: 1,
  }).catch((why: UploadError) => {
    // @ts-expect-error no such code
    if (why.code === 'no_such_code') throw why
    throw why.code === 'aborted' ? new Error(why.message) : why
  })
  // @ts-expect-error an ETag may be missing
  const text: string = etag
  return key
}

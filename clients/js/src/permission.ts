/**
 * What a verified permission allows, and whether a file fits it.
 *
 * `VerifiedUpload` comes from `verifyUpload` alone: `upload` refuses objects made elsewhere, and they are frozen, so what
 * is sent is what was signed.
 */
import { UploadError } from './errors.js'

/** One upload that the issuer has permitted. Frozen, and made by `verifyUpload` only. */
export interface VerifiedUpload {
  /** The `jti` of the permission; the storage keeps it as metadata of the object (`x-amz-meta-jti`). */
  readonly id: string
  readonly issuer: string
  /** Whose upload it is. */
  readonly subject: string
  /** Where the form goes: the address of the bucket. */
  readonly url: string
  /** The form as it was signed, without the file. */
  readonly fields: Readonly<Record<string, string>>
  /** Under which name the storage will keep the file. */
  readonly key: string
  /** The one media type that the file may have. */
  readonly contentType: string
  /** In bytes, both inclusive. */
  readonly minBytes: number
  readonly maxBytes: number
  /** Standard base64, if the permission is for one content alone. */
  readonly sha256?: string
  /** No attempt is begun at or after this moment. */
  readonly expires: Date
}

/** Each with its end in milliseconds: a `Date` can be set, frozen or not. */
const verified = new WeakMap<VerifiedUpload, number>()
const MAX_FIELDS = 64
const MEDIA_TYPE = /^[\w.+-]+\/[\w.+-]+$/

const bad = (what: string) =>
  new UploadError('bad_permission', `This upload permission is not complete: ${what}. Nothing was sent.`)

/** `https`, or `http` on this machine, without credentials or fragment. */
export function safeUrl(text: unknown): URL | undefined {
  try {
    const url = new URL(text as string)
    const near = /^(localhost|127\.0\.0\.1|\[::1\])$/.test(url.hostname)
    const good = typeof text === 'string' && (url.protocol === 'https:' || (url.protocol === 'http:' && near))
    return good && !url.username && !url.password && !url.hash ? url : undefined
  } catch {
    return
  }
}

/**
 * Reads the claims of a token whose signature, issuer, audience and times have been checked.
 *
 * @throws UploadError `bad_permission`, with the member that is missing or wrong
 */
export function permission(claims: Record<string, unknown>, tolerance: number): VerifiedUpload {
  const { iss, sub, jti, exp } = claims as { iss: string; sub: unknown; jti: unknown; exp: number }
  const given = object(claims.upload) ?? {}
  const { url, key_prefix: prefix, content_types: types, min_bytes: minBytes, max_bytes: maxBytes, expires, sha256 } = given
  const demand = (good: unknown, what: string) => {
    if (!good) throw bad(what)
  }
  const text = (value: unknown) => typeof value === 'string' && value
  demand(text(sub) && text(jti), '`sub` or `jti`')
  demand(given.method === 'POST', '`upload.method` must be POST')
  demand(safeUrl(url), '`upload.url` must be an https address')

  const fields = (object(given.fields) ?? {}) as Record<string, string>
  const entries = Object.entries(fields)
  const proper = entries.every(([name, value]) => typeof value === 'string' && name !== 'file')
  demand(proper && entries.length <= MAX_FIELDS, '`upload.fields` must be texts, without `file`')
  const { key = '', 'Content-Type': contentType = '', 'x-amz-checksum-sha256': checksum, 'x-amz-meta-jti': meta } = fields
  demand(text(prefix) && key.startsWith(prefix as string), '`upload.fields.key` must be below `upload.key_prefix`')
  // S3 would put the name of the user's file in its place.
  demand(!key.includes('${'), '`upload.fields.key` must be a whole key')
  demand(meta === jti, '`x-amz-meta-jti` must be the `jti`')
  const type = Array.isArray(types) && types.length === 1 ? types[0] : undefined
  demand(type === contentType && MEDIA_TYPE.test(contentType), '`upload.content_types` must be the one `Content-Type`')
  const hash = sha256 === undefined || /^[A-Za-z0-9+/]{43}=$/.test(sha256 as string)
  demand(hash && sha256 === checksum, '`upload.sha256` must be the `x-amz-checksum-sha256`')
  if (!count(minBytes) || !count(maxBytes) || minBytes > maxBytes) throw bad('`upload.min_bytes` and `upload.max_bytes`')
  if (!count(expires)) throw bad('`upload.expires`')
  const ends = 1000 * (Math.min(exp, expires) + tolerance)
  const made: VerifiedUpload = Object.freeze({
    id: jti as string,
    issuer: iss,
    subject: sub as string,
    url: url as string,
    fields: Object.freeze({ ...fields }),
    key,
    contentType,
    minBytes,
    maxBytes,
    ...(checksum && { sha256: checksum }),
    expires: new Date(ends),
  })
  verified.set(made, ends)
  return made
}

/** An object of JSON, or nothing. */
export function object(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined
}

const count = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

/**
 * Whether this file may be sent with this permission now; the same checks as the storage's, before anything leaves the
 * machine. Reads the file only where the permission names a SHA-256.
 *
 * @throws UploadError `not_verified`, `expired`, `file_too_small`, `file_too_large`, `file_type`, `file_changed`,
 * `file_unreadable`
 */
export async function checkFile(file: Blob, upload: VerifiedUpload, type = file.type): Promise<void> {
  checkTime(upload)
  const has = `The file has ${bytes(file.size)}; `
  if (file.size < upload.minBytes) throw new UploadError('file_too_small', `${has}at least ${bytes(upload.minBytes)} are needed.`)
  if (file.size > upload.maxBytes) throw new UploadError('file_too_large', `${has}at most ${bytes(upload.maxBytes)} are allowed.`)
  if (type.toLowerCase() !== upload.contentType.toLowerCase()) {
    throw new UploadError('file_type', `The file is ${type || 'of an unknown type'}; it must be ${upload.contentType}.`)
  }
  if (upload.sha256 && (await sha256(file)) !== upload.sha256) throw new UploadError('file_changed')
}

/** @throws UploadError `not_verified`, `expired` */
export function checkTime(upload: VerifiedUpload): void {
  const ends = verified.get(upload)
  if (!ends) throw new UploadError('not_verified')
  if (Date.now() >= ends) throw new UploadError('expired')
}

async function sha256(file: Blob): Promise<string> {
  let digest: ArrayBuffer
  try {
    digest = await crypto.subtle.digest('SHA-256', await file.arrayBuffer())
  } catch {
    throw new UploadError('file_unreadable')
  }
  return btoa(String.fromCharCode(...new Uint8Array(digest)))
}

/** A number of bytes as a person reads it, exact where rounding would hide the difference. */
export function bytes(count: number): string {
  const text = (value: number) => value.toLocaleString('en', { maximumFractionDigits: 1 })
  for (const [unit, size] of [['GB', 1e9], ['MB', 1e6], ['kB', 1e3]] as const) {
    if (count >= size && Number.isInteger(count / size * 10)) return `${text(count / size)} ${unit}`
  }
  return `${text(count)} bytes`
}

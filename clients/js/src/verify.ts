/**
 * From the text of a token to a permission: who made it, for which page, until when, and what it allows.
 *
 * Everything is checked that `jose` checks, and more: `typ`, one key for one algorithm, `jti`, and every member of the
 * form. Nothing in the token chooses where the keys come from. RFC 7515, 7519, 8725.
 */
import { UploadError } from './errors.js'
import { fetchKeys, select, verifySignature } from './keys.js'
import { checkTime, object, permission, safeUrl, type VerifiedUpload } from './permission.js'

export interface VerifyOptions {
  /** The issuer, as it stands in `iss`: `https://tokens.example`. Written into the page, never taken from a token. */
  issuer: string
  /** What `aud` has to be; the origin of this page if it is left out. */
  audience?: string
  /** Where the key set is, if not at `{issuer}/.well-known/jwks.json`. */
  jwks?: string
  /** By how many seconds this device's clock may be wrong; 60 if left out, 300 at most. */
  clockTolerance?: number
}

const TYPE = 'upload+jwt'
const MAX_TOKEN_CHARS = 32768
const MAX_TOLERANCE = 300

/**
 * Verifies an upload permission with the keys that the issuer publishes.
 *
 * @throws UploadError; nothing of the token is to be used then
 */
export async function verifyUpload(token: string, options: VerifyOptions): Promise<VerifiedUpload> {
  const { issuer, audience = globalThis.location?.origin, clockTolerance = 60 } = options ?? {}
  if (!globalThis.crypto?.subtle) throw new UploadError('insecure_page')
  // A page in JavaScript is told by nobody else what it has left out.
  if (typeof issuer !== 'string') throw new UploadError('bad_issuer')
  if (typeof audience !== 'string' || !audience) throw new UploadError('no_audience')
  const address = options.jwks ?? `${issuer.replace(/\/$/, '')}/.well-known/jwks.json`
  if (!safeUrl(issuer) || !safeUrl(address)) throw new UploadError('bad_issuer')
  const tolerance = Math.min(Math.max(clockTolerance || 0, 0), MAX_TOLERANCE)

  const { header, signed, payload, signature } = parse(token)
  const { typ, alg, kid } = header
  if (typ !== TYPE) throw new UploadError('wrong_type')
  if (typeof alg !== 'string' || typeof kid !== 'string' || 'crit' in header) throw malformed()
  // A key that this browser's cache does not have yet is asked for once.
  const key = select(await fetchKeys(address, false), kid) ?? select(await fetchKeys(address, true), kid)
  if (!key) throw new UploadError('unknown_key')
  await verifySignature(key, alg, signed, signature)

  const claims = json(payload)
  const { iss, aud, exp, nbf, iat } = claims
  if (iss !== issuer) throw new UploadError('wrong_issuer')
  if (!(Array.isArray(aud) ? aud : [aud]).includes(audience)) {
    throw new UploadError('wrong_audience')
  }
  const isTime = (time: unknown) => time === undefined || typeof time === 'number'
  if (typeof exp !== 'number' || !isTime(nbf) || !isTime(iat)) throw malformed()
  const now = Date.now() / 1000
  if (exp <= now - tolerance) throw new UploadError('expired')
  if (typeof nbf === 'number' && nbf > now + tolerance) throw new UploadError('not_yet_valid')
  const made = permission(claims, tolerance)
  checkTime(made)
  return made
}

/** The three parts, strictly: base64url without padding, UTF-8, JSON objects. */
function parse(token: string) {
  if (typeof token !== 'string' || token.length > MAX_TOKEN_CHARS) throw malformed()
  const parts = /^([\w-]+)\.([\w-]+)\.([\w-]+)$/.exec(token)
  if (!parts) throw malformed()
  const [, header, payload, signature] = parts as unknown as [string, string, string, string]
  return {
    header: json(decode(header)),
    payload: decode(payload),
    signature: decode(signature),
    signed: new TextEncoder().encode(`${header}.${payload}`),
  }
}

function decode(part: string): Uint8Array {
  try {
    const text = part.replaceAll('-', '+').replaceAll('_', '/')
    const binary = atob(text)
    // One way to write each value: bits that say nothing are zero.
    if (btoa(binary).replaceAll('=', '') === text) return Uint8Array.from(binary, (char) => char.charCodeAt(0))
  } catch { /* said below */ }
  throw malformed()
}

function json(bytes: Uint8Array): Record<string, unknown> {
  try {
    const value = object(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)))
    if (value) return value
  } catch { /* said below */ }
  throw malformed()
}

const malformed = () => new UploadError('malformed')

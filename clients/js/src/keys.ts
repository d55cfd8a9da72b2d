/**
 * The issuer's public keys, and a signature by one of them.
 *
 * The token chooses a key by `kid` and nothing else: the algorithm has to be the one of the key. Of a JWK only the
 * public members are given to WebCrypto. RFC 7515, 7517, 7518, 8037, 9864.
 */
import { UploadError } from './errors.js'

/** What a key of the set may have; the rest of it is passed over. */
export interface Jwk {
  kty?: unknown
  kid?: unknown
  use?: unknown
  alg?: unknown
  key_ops?: unknown
  crv?: unknown
  n?: unknown
  e?: unknown
  x?: unknown
  y?: unknown
}

const MAX_KEYS_BYTES = 262144
const KEYS_TIMEOUT_MS = 10000
const MIN_RSA_BITS = 2048
const CURVE_BYTES: Record<string, number> = { 'P-256': 32, 'P-384': 48, 'P-521': 66 }

/**
 * The key set at `url`. The browser's cache keeps it as long as the issuer says; `fresh` asks the issuer again.
 *
 * @throws UploadError `keys_unavailable`
 */
export async function fetchKeys(url: string, fresh: boolean): Promise<Jwk[]> {
  try {
    const response = await fetch(url, {
      cache: fresh ? 'reload' : 'default',
      credentials: 'omit',
      redirect: 'error',
      referrerPolicy: 'no-referrer',
      signal: AbortSignal.timeout(KEYS_TIMEOUT_MS),
    })
    if (!response.ok) throw 0
    const keys = JSON.parse(new TextDecoder().decode(await body(response))).keys
    if (!Array.isArray(keys)) throw 0
    return keys.filter((key) => typeof key === 'object' && key)
  } catch {
    throw new UploadError('keys_unavailable')
  }
}

/** Reads at most `MAX_KEYS_BYTES`, whatever the length that was announced. */
async function body(response: Response): Promise<ArrayBuffer> {
  const chunks: BlobPart[] = []
  let length = 0
  const reader = response.body!.getReader()
  for (let part; !(part = await reader.read()).done; chunks.push(part.value as BlobPart)) {
    if ((length += part.value.length) > MAX_KEYS_BYTES) {
      void reader.cancel()
      throw 0
    }
  }
  return new Blob(chunks).arrayBuffer()
}

/** The one key that the header of a token names, or nothing. Two with one name are a fault of the set: `bad_key`. */
export function select(keys: Jwk[], kid: string): Jwk | undefined {
  const found = keys.filter((key) => key.kid === kid)
  if (found.length > 1) throw new UploadError('bad_key')
  return found[0]
}

/** What WebCrypto calls an algorithm of JOSE, for the kind of key that goes with it; undefined for any other. */
function algorithm(alg: string, { kty, crv }: Jwk) {
  const [, family, bits] = /^(RS|PS|ES)(256|384|512)$/.exec(alg) ?? []
  const hash = `SHA-${bits}`
  if (family === 'ES') {
    const namedCurve = bits === '512' ? 'P-521' : `P-${bits}`
    return kty === 'EC' && crv === namedCurve ? { name: 'ECDSA', namedCurve, hash } : undefined
  }
  if (family) {
    const name = family === 'RS' ? 'RSASSA-PKCS1-v1_5' : 'RSA-PSS'
    return kty === 'RSA' ? { name, hash, saltLength: Number(bits) / 8 } : undefined
  }
  const edwards = (alg === 'EdDSA' || alg === 'Ed25519') && kty === 'OKP' && crv === 'Ed25519'
  return edwards ? { name: 'Ed25519' } : undefined
}

/**
 * Verifies one signature.
 *
 * @throws UploadError `algorithm_unsupported`, `bad_key`, `bad_signature`
 */
export async function verifySignature(
  jwk: Jwk,
  alg: string,
  signed: Uint8Array,
  signature: Uint8Array,
): Promise<void> {
  const { kty, crv, n, e, x, y, use, key_ops: operations } = jwk
  const how = algorithm(alg, jwk)
  // What the key says of itself: its algorithm, and that it is for signatures.
  const mayVerify = operations === undefined || (Array.isArray(operations) && operations.includes('verify'))
  if (!how || !mayVerify || (jwk.alg ?? alg) !== alg || (use ?? 'sig') !== 'sig') {
    throw new UploadError('algorithm_unsupported')
  }
  // Only these: `use`, `key_ops` or a private half beside them would make WebCrypto refuse or import another key.
  const bare = { kty, crv, n, e, x, y } as JsonWebKey
  let key: CryptoKey
  try {
    key = await crypto.subtle.importKey('jwk', bare, how, false, ['verify'])
  } catch (why) {
    // A browser without Ed25519 says NotSupportedError; everything else is the key's fault.
    throw new UploadError((why as Error).name === 'NotSupportedError' ? 'algorithm_unsupported' : 'bad_key')
  }
  if (kty === 'RSA' && (key.algorithm as RsaHashedKeyAlgorithm).modulusLength < MIN_RSA_BITS) {
    throw new UploadError('bad_key')
  }
  const size = CURVE_BYTES[crv as string]
  const good = !(size && signature.length !== 2 * size)
    && await crypto.subtle.verify(how, key, signature as BufferSource, signed as BufferSource)
  if (!good) throw new UploadError('bad_signature')
}

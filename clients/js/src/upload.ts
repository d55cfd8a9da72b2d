/**
 * Sends a file with a verified permission: as a form to the storage, with progress, abort and retries.
 *
 * XMLHttpRequest, because `fetch` tells nobody how much of a body has been sent. A second attempt writes the same
 * object again, so an attempt whose answer was lost may be repeated.
 */
import { UploadError } from './errors.js'
import { bytes, checkFile, checkTime, type VerifiedUpload } from './permission.js'

export interface Progress {
  /** Bytes of the file that this attempt has handed to the network, and all of them. */
  sent: number
  total: number
  /** 1 for the first attempt. */
  attempt: number
}

export interface SendOptions {
  /** The media type, where the file does not know it itself. */
  type?: string
  onProgress?: (progress: Progress) => void
  /** Ends the upload: `AbortController.signal`. */
  signal?: AbortSignal
  /** How often to try again when the storage cannot be reached or has a passing trouble; 3 if left out, 10 at most. */
  retries?: number
  /** Ends an attempt in which nothing moves for so many milliseconds; 60000 if left out. */
  stallTimeout?: number
}

/** What the storage has accepted. */
export interface Uploaded {
  key: string
  /** The `jti` of the permission, which is also in the object's metadata. */
  id: string
  /** If the bucket's CORS rules expose it. */
  etag?: string
  attempts: number
}

const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 8000

/**
 * Checks that the file fits, and sends it.
 *
 * @throws UploadError those of `checkFile`, and `aborted`, `unreachable`, `refused`
 */
export async function upload(file: Blob, permission: VerifiedUpload, options: SendOptions = {}): Promise<Uploaded> {
  const { signal, onProgress, stallTimeout = 60000 } = options
  const retries = Math.min(Math.max(options.retries ?? 3, 0), 10)
  if (signal?.aborted) throw aborted()
  await checkFile(file, permission, options.type)
  const form = new FormData()
  for (const [name, value] of Object.entries(permission.fields)) form.append(name, value)
  // The last field: S3 reads nothing behind it.
  form.append('file', file)
  for (let attempt = 1; ; attempt++) {
    if (signal?.aborted) throw aborted()
    checkTime(permission)
    const answer = await send(permission.url, form, stallTimeout, signal, (sent) =>
      onProgress?.({ sent: Math.min(sent, file.size), total: file.size, attempt }))
    const { status } = answer
    if (status >= 200 && status < 300) {
      onProgress?.({ sent: file.size, total: file.size, attempt })
      const { key, id } = permission
      return { key, id, attempts: attempt, ...(answer.etag && { etag: answer.etag }) }
    }
    const passing = !status || status === 408 || status === 429 || status >= 500
    if (!passing || attempt > retries) throw refusal(answer, permission)
    const longest = Math.min(FIRST_PAUSE_MS * 2 ** (attempt - 1), LONGEST_PAUSE_MS)
    await pause(longest * (0.5 + Math.random() / 2), signal)
  }
}

/** A status of 0 is no answer at all. */
interface Answer {
  status: number
  body: string
  etag: string | null
}

function send(
  url: string,
  form: FormData,
  stall: number,
  signal: AbortSignal | undefined,
  sent: (bytes: number) => void,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    let timer: ReturnType<typeof setTimeout>
    const moved = () => {
      clearTimeout(timer)
      timer = setTimeout(() => request.abort(), stall)
    }
    const abort = () => {
      reject(aborted())
      request.abort()
    }
    request.open('POST', url)
    request.upload.onprogress = ({ loaded }) => {
      moved()
      sent(loaded)
    }
    request.onloadend = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      const { status } = request
      if (!status) return resolve({ status, body: '', etag: null })
      resolve({ status, body: request.responseText, etag: request.getResponseHeader('ETag') })
    }
    signal?.addEventListener('abort', abort)
    moved()
    request.send(form)
  })
}

function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer)
      reject(aborted())
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', end)
      resolve()
    }, milliseconds)
    signal?.addEventListener('abort', end, { once: true })
  })
}

const aborted = () => new UploadError('aborted')

function refusal({ status, body }: Answer, { maxBytes }: VerifiedUpload): UploadError {
  if (!status) return new UploadError('unreachable')
  const code = /<Code>(\w{1,64})<\/Code>/.exec(body)?.[1]
  const told: Record<string, string> = {
    EntityTooLarge: `The storage takes at most ${bytes(maxBytes)}.`,
    EntityTooSmall: 'The storage refused the file as too small.',
    SignatureDoesNotMatch: 'The storage does not accept this upload permission: its signature is not right.',
  }
  const trouble = status >= 500 || status === 429 ? 'The storage has trouble at the moment. Try again later.' : undefined
  return new UploadError('refused', told[code ?? ''] ?? trouble, status, code)
}

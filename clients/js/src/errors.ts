/** Why a permission was refused or a file did not arrive: a stable code, and a sentence for a person. */

const SENTENCES = {
  // The permission (the token) itself.
  malformed: 'This upload permission cannot be read: it is damaged or incomplete. Nothing was sent.',
  wrong_type: 'This is not an upload permission. Nothing was sent.',
  algorithm_unsupported: 'This upload permission is signed in a way that cannot be verified here. Nothing was sent.',
  unknown_key: 'This upload permission is signed with a key that its service does not publish. Nothing was sent.',
  bad_key: 'The service that gives upload permissions publishes a key that cannot be used. Nothing was sent.',
  bad_signature: 'This upload permission was changed, or was not made by the service it names. Nothing was sent.',
  wrong_issuer: 'This upload permission comes from another service. Nothing was sent.',
  wrong_audience: 'This upload permission was made for another page. Nothing was sent.',
  expired:
    'The time for this upload has run out. Ask for a new permission; if that does not help, check the clock of this device.',
  not_yet_valid: 'This upload permission is not valid yet. Check the clock of this device.',
  bad_permission: 'This upload permission is not complete. Nothing was sent.',
  // The issuer and the browser.
  bad_issuer: 'The issuer (`issuer`) is missing, or it or `jwks` is not an https address.',
  no_audience: 'The origin of the page (`audience`) is missing.',
  insecure_page: 'This page was not loaded over https, so it cannot check upload permissions.',
  keys_unavailable:
    'The keys of the service that gives upload permissions could not be fetched. Check your connection and try again.',
  // The file.
  not_verified: 'This upload permission was not verified. Nothing was sent.',
  file_too_small: 'The file is too small.',
  file_too_large: 'The file is too large.',
  file_type: 'The file is of another type.',
  file_changed: 'This is not the file that the permission was given for: its contents differ.',
  file_unreadable: 'The file could not be read. It may have been moved or changed; choose it again.',
  // The way to the storage.
  aborted: 'The upload was stopped.',
  unreachable: 'The storage could not be reached, or it does not let this page in. Check your connection and try again.',
  refused: 'The storage refused the file.',
}

/** Stable: programs decide by these. */
export type UploadErrorCode = keyof typeof SENTENCES

/** What the functions of this module throw. */
export class UploadError extends Error {
  override readonly name = 'UploadError'

  constructor(
    readonly code: UploadErrorCode,
    /** A sentence for a person. Never has the token, a field's value or a key in it. */
    message: string = SENTENCES[code],
    /** The status of the storage, and its own code (`EntityTooLarge`), where it gave one. */
    readonly status?: number,
    readonly storageCode?: string,
  ) {
    super(message)
  }
}

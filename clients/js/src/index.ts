/**
 * Trusted uploads in the browser: verify who permits an upload and what it will do, and only then send the file.
 *
 * No dependency; WebCrypto and XMLHttpRequest. What a permission looks like is written in docs/uploads.md.
 */
export { UploadError, type UploadErrorCode } from './errors.js'
export { checkFile, type VerifiedUpload } from './permission.js'
export { upload, type Progress, type SendOptions, type Uploaded } from './upload.js'
export { verifyUpload, type VerifyOptions } from './verify.js'

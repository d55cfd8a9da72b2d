// Sends one picture: asks this page's own server for a permission, verifies that it is the issuer's, and only then lets the file
// go. What a person is told comes from the module; this script moves it into the page.

import { upload, UploadError, verifyUpload } from './countersign-upload.min.js'

const { issuer } = document.body.dataset
const at = (id) => document.getElementById(id)
/** Ends what is under way; null if nothing is. */
let running = null

function say(text) {
  at('status').textContent = text
}

/** What the server of this page has to say, in the words of its own answer. */
class Refused extends Error {}

async function permission(file, signal) {
  const asked = { type: file.type, bytes: file.size, tamper: at('tamper').checked }
  const response = await fetch('/permission', {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(asked), signal,
  }).catch((why) => {
    if (signal.aborted) throw new Refused('The upload was stopped.')
    throw new Refused('This page could not reach its server. Check your connection and try again.', { cause: why })
  })
  const answer = await response.json().catch(() => ({}))
  if (!response.ok) throw new Refused(answer.message ?? 'Pictures cannot be sent at the moment. Try again later.')
  return verifyUpload(answer.upload_token, { issuer })
}

function show({ issuer, subject, key, expires }) {
  const until = expires.toLocaleTimeString([], { timeStyle: 'short' })
  for (const [id, text] of Object.entries({ issuer, subject, key, until })) at(id).textContent = text
  at('permission').hidden = false
}

function progress({ sent, total, attempt }) {
  at('progress').hidden = false
  at('bar').value = sent / total
  at('percent').textContent = `${Math.floor(100 * sent / total)} %`
  // Read out by screen readers, so not with every step.
  say(attempt > 1 ? `Trying again (${attempt}).` : 'Sending…')
}

async function send(file) {
  running = new AbortController()
  const { signal } = running
  for (const id of ['problem', 'permission', 'progress']) at(id).hidden = true
  at('send').disabled = true
  at('cancel').hidden = false
  at('bar').value = 0
  say('Asking for permission…')
  try {
    const verified = await permission(file, signal)
    show(verified)
    await upload(file, verified, { onProgress: progress, signal })
    say('The picture has arrived.')
  } catch (why) {
    if (!(why instanceof UploadError || why instanceof Refused)) throw why
    say('')
    for (const id of ['permission', 'progress']) at(id).hidden = true
    at('what').textContent = why.message
    at('problem').hidden = false
  } finally {
    running = null
    at('send').disabled = false
    at('cancel').hidden = true
    at('send').focus()
  }
}

at('form').addEventListener('submit', (event) => {
  event.preventDefault()
  send(at('file').files[0])
})
at('cancel').addEventListener('click', () => running?.abort())

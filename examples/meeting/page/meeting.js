// Joins a meeting at 8x8 with a token that this page's own server gets for the user who is signed in.
//
// Whether that user may go into that room is said by the rules of Countersign, and told here in a sentence. A token is looked at
// when somebody joins or comes back after a lost connection, so a new one is had before the old one ends: who is still waiting
// then starts again with it, and whoever is in the meeting stays there undisturbed.
'use strict'

const SENTENCES = {
  not_signed_in: 'You are not signed in. Sign in to join a meeting.',
  room_not_allowed: 'You are not allowed into this room. Check its name, or ask the person who invited you.',
  sign_in_refused: 'Your sign-in was not accepted for meetings. Sign in again; if that does not help, ask your administrator.',
  token_refused:
    'The meeting service did not accept your permission to join. Try again; if it happens again, tell your administrator.',
  expired: 'Your sign-in ended while you were waiting. Sign in again to join.',
  expired_unavailable:
    'Your permission to join ended while you were waiting, and no new one could be had. Check your connection and try again.',
  unavailable: 'Meetings cannot be opened at the moment. Check your connection and try again.',
  no_service: 'The meeting service could not be loaded. Check your connection and try again.',
  lost: 'The connection to the meeting was lost. Try again.',
  removed: 'A moderator removed you from the meeting.',
}
// What of these is mended by signing in; the others by trying again, but for what only another room or person can mend.
const BY_SIGNING_IN = ['not_signed_in', 'sign_in_refused', 'expired']
const BY_NOTHING_HERE = ['room_not_allowed', 'removed']
// Names of `errorOccurred` with which a server of Jitsi says that it does not let this token in, and not into this room.
const REFUSED = ['connection.passwordRequired', 'conference.authenticationRequired']
const NOT_IN_THIS_ROOM = ['conference.connectionError.notAllowed', 'conference.connectionError.membersOnly']
// How long before its end a token is renewed, and how soon a renewal that failed is tried again. Milliseconds.
const AHEAD = 60_000
const PAUSE = 5_000

const { meetings, appId } = document.body.dataset
const at = (id) => document.getElementById(id)
/** What is under way: room, token and its end, the frame's API, whether we are in. */
let meeting = null

async function ask(path, body) {
  const response = await fetch(path, body && {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
  }).catch(() => { throw 'unavailable' })
  const answer = await response.json().catch(() => ({}))
  if (!response.ok) throw Object.hasOwn(SENTENCES, answer.error) ? answer.error : 'unavailable'
  return answer
}

function say(text) {
  at('status').textContent = text
}

/** Puts one sentence in front of the person, and the focus on what mends it. */
function tell(code) {
  say('')
  at('what').textContent = SENTENCES[code]
  const signIn = BY_SIGNING_IN.includes(code)
  const again = !signIn && !BY_NOTHING_HERE.includes(code)
  at('sign-in').hidden = !signIn
  at('again').hidden = !again
  at('problem').hidden = false
  at(signIn ? 'sign-in' : again ? 'again' : 'room').focus()
}

function show(inMeeting) {
  document.body.classList.toggle('in-meeting', inMeeting)
  at('meeting').hidden = !inMeeting
  at('join').hidden = inMeeting || !at('name').textContent
}

/** The API is a script of the service, below the path of the AppID. It is loaded when somebody joins, and once. */
let loading
function api() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement('script')
    script.src = `${meetings}/${appId}/external_api.js`
    script.onload = () => resolve(window.JitsiMeetExternalAPI)
    script.onerror = () => {
      loading = undefined
      script.remove()
      reject('no_service')
    }
    document.head.append(script)
  })
  return loading
}

async function given(room) {
  const { token, room: name, expires_in: seconds } = await ask('/meeting-token', { room })
  return { token, room: name, ends: Date.now() + seconds * 1000 }
}

async function join(room) {
  leave()
  // For whoever has to sign in first.
  sessionStorage.setItem('room', room)
  at('problem').hidden = true
  say('Opening the meeting…')
  const button = at('join').querySelector('button')
  button.disabled = true
  try {
    const [permission, Frame] = await Promise.all([given(room), api()])
    meeting = { Frame, ...permission }
    start()
  } catch (code) {
    stop(code)
  } finally {
    button.disabled = false
  }
}

/** A frame with the token that we have. */
function start() {
  const mine = meeting
  mine.frame?.dispose()
  mine.joined = false
  show(true)
  mine.frame = new mine.Frame(new URL(meetings).host, {
    roomName: `${appId}/${mine.room}`, jwt: mine.token, parentNode: at('frame'), width: '100%', height: '100%',
  })
  const { frame } = mine
  // Events of a frame that has been replaced say nothing about the one that is there.
  const on = (event, act) => frame.addListener(event, (detail) => mine === meeting && frame === mine.frame && act(detail))
  on('videoConferenceJoined', () => {
    mine.joined = true
    say(`You are in ${mine.room}.`)
  })
  on('readyToClose', () => stop())
  on('participantKickedOut', ({ kicked }) => kicked.local && stop('removed'))
  on('errorOccurred', refused)
  say(`Waiting to join ${mine.room}…`)
  plan()
}

function refused({ name, isFatal }) {
  if (NOT_IN_THIS_ROOM.includes(name)) return stop('room_not_allowed')
  if (REFUSED.includes(name)) {
    // A device that was asleep may have come with a token that has ended since: then, and only then, another one is tried.
    return Date.now() < meeting.ends ? stop('token_refused') : renew()
  }
  if (isFatal) stop('lost')
}

function plan() {
  clearTimeout(meeting.timer)
  const left = meeting.ends - Date.now()
  meeting.timer = setTimeout(renew, left - Math.min(AHEAD, left / 2))
}

async function renew() {
  const mine = meeting
  clearTimeout(mine.timer)
  try {
    const permission = await given(mine.room)
    if (mine !== meeting) return
    Object.assign(mine, permission)
    if (mine.joined) plan()
    else start()
  } catch (code) {
    if (mine !== meeting) return
    if (mine.joined) {
      // Nobody is thrown out: the meeting goes on without a token. It would be missed only after a lost connection.
      if (code === 'unavailable') mine.timer = setTimeout(renew, PAUSE)
      else say('You are still in the meeting. To come back after leaving it, you will have to sign in again.')
    } else if (code === 'unavailable' && Date.now() < mine.ends) {
      mine.timer = setTimeout(renew, PAUSE)
    } else {
      stop({ not_signed_in: 'expired', unavailable: 'expired_unavailable' }[code] ?? code)
    }
  }
}

function leave() {
  clearTimeout(meeting?.timer)
  meeting?.frame?.dispose()
  meeting = null
}

/** Ends what is under way; with the code of a sentence if something was wrong. */
function stop(code) {
  leave()
  show(false)
  if (code) return tell(code)
  say('You have left the meeting.')
  at('room').focus()
}

at('join').addEventListener('submit', (event) => {
  event.preventDefault()
  join(at('room').value.trim())
})
at('again').addEventListener('click', () => (at('name').textContent ? join(at('room').value.trim()) : location.reload()))
at('leave').addEventListener('click', () => stop())
// Timers of a device that sleeps are late.
document.addEventListener('visibilitychange', () => {
  if (meeting && document.visibilityState === 'visible' && Date.now() > meeting.ends - AHEAD) renew()
})

ask('/me').then(({ name }) => {
  // For somebody who has just come this is no alarm.
  at('problem').classList.toggle('note', !name)
  if (!name) throw 'not_signed_in'
  at('name').textContent = name
  at('account').hidden = false
  show(false)
  at('room').value = new URLSearchParams(location.search).get('room') ?? sessionStorage.getItem('room') ?? ''
}).catch(tell)

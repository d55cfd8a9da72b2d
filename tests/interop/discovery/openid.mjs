// What openid-client and oauth4webapi say of a discovery document: JSON lines `{"reader", "text"}` in, `{"error"}` out.
// Run by test_discovery.py. The document is answered to the library's own request for it, as it is.

import { createInterface } from 'node:readline'
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'

function answering(text, asked) {
  return async (url) => {
    asked.push(String(url))
    return new Response(text, { headers: { 'content-type': 'application/json' } })
  }
}

async function openidClient(issuer, text, algorithm) {
  const asked = []
  const config = await client.discovery(new URL(issuer), 'somebody', undefined, undefined, {
    algorithm,
    [client.customFetch]: answering(text, asked),
  })
  if (asked.length !== 1) throw new Error(`it asked ${asked}`)
  // A metadata reader that gave nothing away would take anything.
  if (!config.serverMetadata().jwks_uri) throw new Error('no jwks_uri')
}

async function oauth4webapi(issuer, text, algorithm) {
  const asked = new URL(issuer)
  const response = await oauth.discoveryRequest(asked, { algorithm, [oauth.customFetch]: answering(text, []) })
  await oauth.processDiscoveryResponse(asked, response)
}

const READERS = {
  'openid-client (OpenID Connect)': (issuer, text) => openidClient(issuer, text, 'oidc'),
  'openid-client (RFC 8414)': (issuer, text) => openidClient(issuer, text, 'oauth2'),
  'oauth4webapi (OpenID Connect)': (issuer, text) => oauth4webapi(issuer, text, 'oidc'),
  'oauth4webapi (RFC 8414)': (issuer, text) => oauth4webapi(issuer, text, 'oauth2'),
}

for await (const line of createInterface({ input: process.stdin })) {
  const { reader, issuer, text } = JSON.parse(line)
  let error = null
  try {
    await READERS[reader](issuer, text)
  } catch (why) {
    error = `${why.name}: ${why.message} ${why.cause ? JSON.stringify(why.cause) : ''}`
  }
  console.log(JSON.stringify({ error }))
}

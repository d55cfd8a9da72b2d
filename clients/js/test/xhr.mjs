// XMLHttpRequest as far as `upload` uses it, over a real connection; the browser's own is tested in tests/pages.

import { request as open } from 'node:http'

export class XMLHttpRequest {
  upload = {}
  status = 0
  responseText = ''

  open(method, url) {
    this.target = { method, url }
  }

  getResponseHeader(name) {
    return this.headers?.[name.toLowerCase()] ?? null
  }

  abort() {
    this.done = true
    this.request?.destroy()
    this.end(0)
  }

  end(status) {
    if (this.ended) return
    this.ended = true
    this.status = status
    this.onloadend?.()
  }

  async send(form) {
    const encoded = new Response(form)
    const body = Buffer.from(await encoded.arrayBuffer())
    if (this.done) return
    const headers = { 'Content-Type': encoded.headers.get('Content-Type'), 'Content-Length': body.length }
    this.request = open(this.target.url, { method: this.target.method, headers }, async (response) => {
      this.headers = response.headers
      try {
        for await (const chunk of response) this.responseText += chunk
        this.end(response.statusCode)
      } catch {
        this.end(0)
      }
    })
    this.request.on('error', () => this.end(0))
    this.upload.onprogress?.({ loaded: body.length >> 1, total: body.length })
    this.request.end(body, () => this.ended || this.upload.onprogress?.({ loaded: body.length, total: body.length }))
  }
}

// Sends a file by tus-js-client, or goes on where an earlier run of this program was interrupted.
// Reads its task as JSON from standard input and prints what happened as JSON; `dieAfter` bytes end it as kill -9 would.

import { createReadStream, readFileSync } from 'node:fs'
import http from 'node:http'
import { createRequire } from 'node:module'
import { PassThrough } from 'node:stream'

const task = JSON.parse(readFileSync(0, 'utf8'))
const tus = createRequire(`${task.modules}/`)('tus-js-client')
const offsets = []

let sent = 0
const { write } = http.OutgoingMessage.prototype
http.OutgoingMessage.prototype.write = function (chunk, ...rest) {
  sent += chunk.length
  if (sent > task.dieAfter) process.kill(process.pid, 'SIGKILL')
  return write.call(this, chunk, ...rest)
}

// Of a file the client knows the size, and announces it: what has no end yet must be another stream.
const file = createReadStream(task.file)
const upload = new tus.Upload(task.lengthLater ? file.pipe(new PassThrough()) : file, {
  endpoint: task.endpoint,
  headers: task.headers,
  metadata: task.metadata,
  chunkSize: task.chunkSize ?? Infinity,
  uploadDataDuringCreation: task.withCreation ?? false,
  uploadLengthDeferred: task.lengthLater ?? false,
  retryDelays: [100, 300],
  urlStorage: new tus.FileUrlStorage(task.storage),
  fingerprint: async () => task.file,
  onAfterResponse(request, response) {
    if (request.getMethod() === 'HEAD') offsets.push(Number(response.getHeader('Upload-Offset')))
  },
  onError(error) {
    console.log(JSON.stringify({ error: String(error), offsets }))
    process.exitCode = 1
  },
  onSuccess() {
    console.log(JSON.stringify({ url: upload.url, offsets }))
  },
})

const [previous] = await upload.findPreviousUploads()
if (previous !== undefined) upload.resumeFromPreviousUpload(previous)
upload.start()

/**
 * An ordinary server of node:http for the demo of replay (A1): its handler knows nothing of checkpoints and take-overs. It is deterministic:
 * what it answers follows from the request alone.
 */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { replayed } from '../../../apps/http/replay.js'
import { createNode } from '../../../cluster/io/index.js'

/** GET /N: N numbered and hashed lines. POST: the body's hash. */
function handle(req: IncomingMessage, res: ServerResponse): void {
  if (req.method === 'GET') {
    res.setHeader('Content-Type', 'text/plain')
    Readable.from(report(Number(req.url?.slice(1)))).pipe(res)
    return
  }
  const hash = createHash('sha256')
  req.on('data', (chunk) => hash.update(chunk))
  req.on('end', () => res.end(`${hash.digest('hex')}\n`))
}

function* report(lines: number): Iterable<string> {
  for (let i = 0; i < lines; i += 500) {
    let text = ''
    for (let n = i; n < Math.min(i + 500, lines); n++) {
      text += `${n} ${createHash('md5').update(String(n)).digest('hex')}\n`
    }
    yield text
  }
}

const node = await createNode()
node.net.createServer({ allowHalfOpen: true }, replayed(createServer(handle))).listen(80)

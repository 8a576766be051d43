/** The demo of replay: a server of node:http that knows nothing of take-overs (A1). */
import * as fs from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { AppDemo } from '../stage.js'

const SERVER = fileURLToPath(new URL('./replay-server.js', import.meta.url))
const CURL = ['curl', '--disable', '--silent', '--show-error', '--fail', '--noproxy', '*']

export const replayDemo: AppDemo = {
  name: 'replay',
  summary:
    'an unmodified handler of node:http, whose input is replayed: curl asks twice on one connection',
  whyNot: () => null,
  lab: () => ({ app: 'http', program: [process.execPath, SERVER] }),
  async play(stage) {
    const url = `http://${stage.address}/`
    const download = await stage.act('curl, two reports on one connection', (turn) =>
      turn.follow(stage.client([...CURL, '--limit-rate', '15M', `${url}200000`, `${url}400000`])),
    )
    const file = join(stage.scratch, 'posted')
    fs.writeFileSync(file, Buffer.alloc(10_000_000, 'understudy '))
    const posted = await stage.act('curl, POST of 10 MB', async (turn) => {
      const args = [
        '--limit-rate',
        '5M',
        '--data-binary',
        `@${file}`,
        '--header',
        'Expect:',
        '-w',
        '%{size_upload}',
      ]
      const client = stage.client([...CURL, ...args, url])
      for (let i = 0; turn.calm !== null && i < stage.kills; i++) {
        await stage.pause(400)
        await turn.kill(() => stage.isOwned())
      }
      await client.succeeded()
      return client
    })
    return [...download, ...posted]
  },
}

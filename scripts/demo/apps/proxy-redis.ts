/** The demo of the proxy with an unmodified Redis (A7). */
import * as fs from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type AppDemo, isInstalled, SERVER } from '../stage.js'

const CLIENT = fileURLToPath(new URL('./kv-client.js', import.meta.url))
const PORT = '6379'
const ROUNDS = 1500
const VALUE = 4_000_000
const COMMANDS = 400

export const proxyRedisDemo: AppDemo = {
  name: 'proxy-redis',
  summary:
    'an unmodified Redis behind the proxy: pipelined writes that are checked, and a large value by redis-cli',
  whyNot: () =>
    isInstalled('redis-server') && isInstalled('redis-cli')
      ? null
      : 'there is no Redis: install the Debian packages redis-server and redis-tools',
  lab: () => ({ app: 'proxy', to: `${SERVER}:${PORT}` }),
  async prepare(stage) {
    const folder = join(stage.scratch, 'redis')
    fs.mkdirSync(folder)
    const where = ['--bind', SERVER, '--port', PORT, '--protected-mode', 'no']
    const argv = ['redis-server', ...where, '--save', '', '--dir', folder]
    await stage.serve(argv, ['redis-cli', '-h', SERVER, 'PING'])
  },
  async play(stage) {
    const cli = ['redis-cli', '-h', stage.address]
    const pipelined = await stage.act('numbered keys and counters, 8 connections', async (turn) => {
      const argv = [process.execPath, CLIENT, stage.address, String(ROUNDS)]
      return turn.follow(stage.client(argv))
    })
    await stage.client([...cli, 'SETRANGE', 'large', String(VALUE), 'end']).succeeded()
    const session = await stage.act(
      `one redis-cli, ${COMMANDS} commands and a large value`,
      async (turn) => {
        const client = stage.client(cli, 'pipe')
        await client.ask('SET n 0')
        for (let i = 1; i <= COMMANDS; i++) {
          if (stage.isDue(i, COMMANDS)) await turn.kill(() => client.ask('INCR n'))
          else await client.ask('INCR n')
        }
        client.child.stdin?.end('GET large\n')
        await client.succeeded()
        return client
      },
    )
    return [...pipelined, ...session]
  },
}

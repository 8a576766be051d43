/** The demo of the key-value store (A4). */
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type AppDemo, isInstalled, type Stage, type Turn } from '../stage.js'

const CLIENT = fileURLToPath(new URL('./kv-client.js', import.meta.url))
const ROUNDS = 4000
const REQUESTS = 200_000

export const kvDemo: AppDemo = {
  name: 'kv',
  summary: 'a client that checks each answer, and redis-benchmark, at the key-value store',
  whyNot: () => null,
  lab: () => ({ app: 'kv' }),
  async play(stage) {
    const checked = await stage.act('numbered keys and counters, 8 connections', async (turn) => {
      await ask(stage, 'FLUSHALL')
      const argv = [process.execPath, CLIENT, stage.address, String(ROUNDS)]
      return turn.follow(stage.client(argv))
    })
    if (!isInstalled('redis-benchmark')) {
      stage.say('redis-benchmark is not here (Debian package redis-tools): its act is left out')
      return checked
    }
    const title = `redis-benchmark -n ${REQUESTS} -P 16`
    // It does not say how far it is: the kills come at equal parts of the time that it takes undisturbed.
    let took = 0
    const act = stage.act(title, async (turn) => {
      const begun = performance.now()
      const saw = await benchmark(stage, turn, took / (stage.kills + 1))
      if (turn.calm === null) took = performance.now() - begun
      return saw
    })
    return [...checked, ...(await act)]
  },
}

// Its own figures differ from run to run: what it has written is compared.
async function benchmark(stage: Stage, turn: Turn, everyMs: number) {
  await ask(stage, 'FLUSHALL')
  const args = ['-h', stage.address, '-n', String(REQUESTS), '-P', '16', '-t', 'incr,lpush', '-q']
  const client = stage.client(['redis-benchmark', ...args])
  const begun = performance.now()
  for (let i = 1; turn.calm !== null && i <= stage.kills; i++) {
    await delay(Math.max(0, begun + i * everyMs - performance.now()))
    await turn.kill(() => client.reaches(client.octets + 1))
  }
  await client.succeeded()
  const counted = stage.client(cli(stage, 'GET', 'counter:__rand_int__'))
  await counted.succeeded()
  const pushed = stage.client(cli(stage, 'LLEN', 'mylist'))
  await pushed.succeeded()
  const text = `${counted.text}${pushed.text}${client.said}`
  return { digest: text, octets: text.length }
}

function cli(stage: Stage, ...words: string[]): string[] {
  return ['redis-cli', '-h', stage.address, ...words]
}

async function ask(stage: Stage, ...words: string[]): Promise<void> {
  if (!isInstalled('redis-cli')) return
  await stage.client(cli(stage, ...words)).succeeded()
}

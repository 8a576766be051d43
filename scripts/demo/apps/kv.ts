/** The demo of the key-value store (A4). */
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Client } from '../client.js'
import { type ActReport, type AppDemo, isInstalled, type Stage } from '../stage.js'

const CLIENT = fileURLToPath(new URL('./kv-client.js', import.meta.url))
const ROUNDS = 4000
const REQUESTS = 200_000
const FEW_REQUESTS = 1600
const MIDST_MS = 500
/** Those whose effects can be counted. */
const TESTS = 'incr,lpush'

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
    const act = stage.long ? all(stage) : some(stage)
    return [...checked, ...(await act)]
  },
}

// It does not say how far it is: the kills come at equal parts of the time that it takes undisturbed.
function some(stage: Stage): Promise<readonly ActReport[]> {
  let took = 0
  return stage.act(`redis-benchmark -n ${REQUESTS} -P 16 -t ${TESTS}`, async (turn) => {
    const begun = performance.now()
    const client = await benchmark(stage, REQUESTS, ['-t', TESTS])
    const everyMs = took / (stage.kills + 1)
    for (let i = 1; turn.calm !== null && i <= stage.kills; i++) {
      await delay(Math.max(0, begun + i * everyMs - performance.now()))
      await turn.kill(() => client.reaches(client.octets + 1))
    }
    const saw = await written(stage, client, REQUESTS)
    if (turn.calm === null) took = performance.now() - begun
    return saw
  })
}

// Undisturbed with a few requests, which opens as many connections; then with all of them, which takes minutes, and a kill whenever an equal
// part of the tests is done.
function all(stage: Stage): Promise<readonly ActReport[]> {
  let tests = 0
  return stage.act(`redis-benchmark -n ${REQUESTS} -P 16`, async (turn) => {
    const requests = turn.calm === null ? FEW_REQUESTS : REQUESTS
    const client = await benchmark(stage, requests, [])
    for (let i = 1; turn.calm !== null && i <= stage.kills; i++) {
      const due = Math.floor((i * tests) / (stage.kills + 1))
      while (results(client).length < due) await client.reaches(client.octets + 1)
      // In the midst of the next one.
      await delay(MIDST_MS)
      await turn.kill(() => client.reaches(client.octets + 1))
    }
    const saw = await written(stage, client, requests)
    tests = results(client).length
    return saw
  })
}

async function benchmark(stage: Stage, requests: number, more: readonly string[]): Promise<Client> {
  await ask(stage, 'FLUSHALL')
  const args = ['-h', stage.address, '-n', String(requests), '-P', '16', '-q', ...more]
  return stage.client(['redis-benchmark', ...args])
}

/** The lines of the tests that are done. */
function results({ text }: Client): string[] {
  return text.split(/[\r\n]+/).filter((line) => line.includes('requests per second'))
}

// Its own figures differ from run to run: what it has written is compared, in parts of what it was to write.
async function written(stage: Stage, client: Client, requests: number) {
  await client.succeeded()
  for (const line of results(client)) stage.say(`  ${line.trim()}`)
  const counted = stage.client(cli(stage, 'GET', 'counter:__rand_int__'))
  await counted.succeeded()
  const pushed = stage.client(cli(stage, 'LLEN', 'mylist'))
  await pushed.succeeded()
  const parts = [counted, pushed].map(({ text }) => Number(text) / requests)
  const text = `${parts.join()}${client.said}`
  return { digest: text, octets: text.length }
}

function cli(stage: Stage, ...words: string[]): string[] {
  return ['redis-cli', '-h', stage.address, ...words]
}

async function ask(stage: Stage, ...words: string[]): Promise<void> {
  if (!isInstalled('redis-cli')) return
  await stage.client(cli(stage, ...words)).succeeded()
}

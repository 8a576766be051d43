/** O3, O4: what operators get beside the program: prose on take-overs, completion, man page, unit file and board. */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import t from 'tap'
import { nodeMetrics } from '../../../cluster/io/metrics.js'
import { checkNodeConfig } from '../../../cluster/io/node-config.js'
import { DecisionLog, type NodeStatus } from '../../../cluster/io/node-status.js'
import { bashCompletion, optionsIn } from '../../../scripts/completion.js'
import { explainTakeovers, readStory } from '../../../scripts/node/explain.js'
import { type Variant, type VariantOptions, varied } from '../../../scripts/node/variants.js'

const TAKEOVER = {
  event: 'takeover',
  binding: 1,
  from: 1,
  to: 2,
  epoch: 2,
  cause: 'silence',
  silentMs: 120.4,
  fencedMs: 5,
  ms: 9.5,
  connections: 5,
  promoted: 2,
  midStream: 1,
  givenUp: { gap: 2, untracked: 1 },
  at: 1_700_000_000_000,
}

t.test('O3: explain tells why, in which steps, and what became of whom', (t) => {
  const log = [
    '{"event":"ready","id":2,"pid":7,"at":1699999990000}',
    'some other line',
    '{"event":"peer","node":3,"at":1699999980000}',
    '{"event":"suspect","node":1,"cause":"silence","binding":1,"at":1699999999990}',
    JSON.stringify(TAKEOVER),
    '{"event":"ta',
  ].join('\n')
  const { story, node } = readStory(log)
  t.equal(node, 2)
  const [text = ''] = explainTakeovers(story, node)
  t.match(text, /^2023-11-14T22:13:20.000Z: node 2 took binding 1 over from node 1, in term 2\.\n/)
  t.match(text, /Why: nothing had been heard of it for longer than timing.silenceMs/)
  t.match(
    text,
    /129\.9 ms from its last sign of life to the claim: 120\.4 ms until .* suspected, 5\.0 ms .* shut, 4\.5 ms/,
  )
  t.match(
    text,
    /2 of 5 went on, 1 of them with octets under way; 2 could not go on, .*missed.*\(gap\); 1 could not/,
  )
  t.match(text, /What node 2 saw before:\n +-10 ms {2}suspect node 1, cause "silence", binding 1/)
  t.notMatch(text, /peer node 3/, 'what was long ago is another story')
  t.strictSame(explainTakeovers(readStory('').story, 0), [])
  const yielded = JSON.stringify({
    ...TAKEOVER,
    cause: 'yield',
    silentMs: 0,
    ms: 0.2,
    connections: 0,
  })
  const [planned = ''] = explainTakeovers(readStory(yielded).story, 2)
  t.match(
    planned,
    /handed the address over on command.*0\.2 ms behind the last word.*there were none/s,
  )
  t.end()
})

t.test('O4: completion knows the commands and the options that the help names', (t) => {
  t.strictSame(optionsIn('[--json] --at HOST, --json; x--y'), ['--at', '--json'])
  const script = bashCompletion('  lab  labs\n  node   a node\n', {
    node: 'node --config FILE [--check]',
  })
  const ask = (...words: string[]) => {
    const run = `${script}
      compopt() { :; }
      COMP_WORDS=(understudy ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}
      _understudy; echo "\${COMPREPLY[@]}"`
    return spawnSync('bash', ['-c', run], { encoding: 'utf8' }).stdout.trim()
  }
  t.equal(ask('n'), 'node')
  t.equal(ask('node', '--c'), '--check --config')
  t.equal(ask('lab', 'sw'), 'switchover')
  t.match(ask('lab', 'up', '--n'), '--no-offload --nodes')
  t.end()
})

t.test('A7, O4: record and proxy are nodes with one thing changed', (t) => {
  const names = { cluster: 'x', keyFile: 'key', tap: 't', storeDir: 's', sharedDir: 'c' }
  const binding = { address: '10.0.0.100/24', ports: '5000-5999' }
  const app = { name: 'proxy', port: 1, idleMs: 7 }
  const config = checkNodeConfig({ id: 1, ...names, binding, app }, 'test', '/')
  t.equal(varied('node', config, {}), config)
  t.match(varied('record', config, { out: '/a.pcapng' }), { record: '/a.pcapng' })
  const proxy = varied('proxy', config, { listen: '10.0.0.100:5432', to: 'db:5432' })
  t.same(proxy.app, { name: 'proxy', port: 5432, to: 'db:5432', idleMs: 7 })
  const fails = (variant: Variant, options: VariantOptions, message: RegExp) =>
    t.throws(() => varied(variant, config, options), { message })
  fails('record', {}, /record: needs --out FILE/)
  fails('proxy', { to: 'db:1' }, /proxy: needs --listen ADDRESS:PORT and --to HOST:PORT/)
  fails('proxy', { listen: '10.0.0.100:80', to: 'db:1' }, /in no binding of the configuration/)
  fails('proxy', { listen: '10.0.0.101:5000', to: 'db:1' }, /in no binding of the configuration/)
  fails('proxy', { listen: ':80', to: 'db:1' }, /:80' is no address|is in no binding|--listen/)
  fails('node', { to: 'db:1' }, /node: has no such option/)
  t.end()
})

t.test('O4: the man page names every command; the unit runs the node', (t) => {
  const source = fs.readFileSync('scripts/understudy.ts', 'utf8')
  const page = fs.readFileSync('scripts/man/understudy.1', 'utf8')
  const commands = [...source.matchAll(/^ {2}([a-z]+) {2,}\w/gm)].map(([, name]) => name as string)
  t.ok(commands.length >= 11, commands.join(' '))
  for (const name of commands) t.match(page, new RegExp(`^\\.B ${name}\\b`, 'm'))
  const unit = fs.readFileSync('scripts/systemd/understudy@.service', 'utf8')
  t.match(unit, /^ExecStartPre=.* node --config \S+ --check$/m)
  t.match(unit, /^User=understudy$/m)
  t.end()
})

t.test('O3: the board asks for metrics that there are', async (t) => {
  const status: NodeStatus = {
    id: 1, cluster: 'x', pid: 1, at: 0, upMs: 0, bindings: [], peers: [], takeovers: [],
    decisions: [], drops: {}, framesHeard: 0, framesMissed: 0, framesFiltered: 0,
  } // biome-ignore format: nothing to read
  const known = await nodeMetrics(() => status, new DecisionLog()).getMetricsAsJSON()
  const names = new Set(known.map(({ name }) => name))
  const board = JSON.parse(fs.readFileSync('scripts/grafana/understudy.json', 'utf8'))
  const asked: string[] = board.panels.flatMap((panel: { targets: { expr: string }[] }) =>
    panel.targets.flatMap(({ expr }) => expr.match(/(?:understudy|nodejs)_\w+/g) ?? []),
  )
  t.ok(asked.length >= 15)
  for (const name of asked) t.ok(names.has(name), name)
})

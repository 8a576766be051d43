/** What the node program says when it cannot start, and how the demo and the node are used from a command line. */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Lab } from '../../scripts/lab/lab.js'
import { gone, whyNoLab } from './support.js'

const why = await whyNoLab()
const program = fileURLToPath(new URL('../../scripts/node/main.js', import.meta.url))
const scratch = fs.mkdtempSync(join(tmpdir(), 'understudy-failures-'))
t.teardown(() => fs.rmSync(scratch, { recursive: true, force: true }))

function run(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' })
}

function configured(change: object): string {
  const file = join(scratch, 'node.json')
  const config = {
    id: 1,
    cluster: 'main',
    keyFile: 'key',
    tap: 'us-none',
    binding: { address: '10.77.0.100/24' },
    storeDir: 'mirror',
    sharedDir: 'shared',
    ...change,
  }
  fs.writeFileSync(file, JSON.stringify(config))
  return file
}

t.test(
  'a node that is used wrongly ends with 2, one that cannot start with 1 and a code',
  async (t) => {
    t.match(run(), { status: 2, stderr: /Usage/ })
    t.match(run('--nonsense'), { status: 2, stderr: /--nonsense.*Usage/s })
    t.match(run('--help'), { status: 0, stdout: /Usage/ })
    t.match(run('--config', join(scratch, 'nowhere.json')), {
      status: 1,
      stderr: /^understudy node: .*nowhere.json: cannot be read.*\(ERR_CONFIG\)\n$/,
    })
    const slip = run('--config', configured({ keyfile: 'key' }))
    t.match(slip, { status: 1, stderr: /node.json:1: keyfile: there is no such field.*ERR_CONFIG/ })
    t.match(JSON.parse(slip.stdout), { event: 'error', code: 'ERR_CONFIG' })
    t.match(run('--config', configured({})), {
      status: 1,
      stderr: /node.json:1: keyFile: there is no cluster key at .*openssl rand.*ERR_KEY_MISSING/,
    })
    fs.writeFileSync(join(scratch, 'key'), 'abc', { mode: 0o600 })
    t.match(run('--config', configured({})), { status: 1, stderr: /ERR_KEY_FORMAT/ })
  },
)

/** What node `id` said when it ended instead of getting ready. */
async function refusal(lab: Lab, id: number): Promise<string> {
  return lab.start(id).then(
    () => 'it started',
    (error: Error) => error.message,
  )
}

t.test('a node on a TAP that cannot start says why and what to do', { skip: why }, async (t) => {
  const lab = await Lab.create({ nodes: 2, app: 'echo' })
  try {
    const {
      folder,
      bridges: [bridge],
      switchNamespace,
    } = lab.record
    lab.space.runScript(
      `ip -n ${switchNamespace} link set ${bridge} type bridge ageing_time 30000 mcast_snooping 1`,
    )
    const learning = await refusal(lab, 1)
    t.match(learning, /ERR_BRIDGE_NOT_HUB/)
    const [, command = ''] = /`(ip link set [^`]*)`/.exec(learning) ?? []
    lab.space.runScriptIn(switchNamespace, command)
    t.pass(`typed ${command}`)

    const mirror = join(folder, 'node1', 'mirror')
    fs.mkdirSync(mirror)
    fs.writeFileSync(join(mirror, 'stranger.txt'), '')
    t.match(await refusal(lab, 1), /holds stranger.txt.*ERR_STORE_FOREIGN/)
    fs.rmSync(mirror, { recursive: true })

    await lab.start(1)
    t.equal(await lab.awaitOwner(), 1)
    const config = join(folder, 'node1.json')
    const argv = lab.space.wrapIn(switchNamespace, [process.execPath, program, '--config', config])
    const second = spawnSync(argv[0] ?? '', argv.slice(1), { encoding: 'utf8' })
    t.match(second, { status: 1, stderr: /ERR_TAP_BUSY/ })
    t.match(second.stderr, `process ${lab.status()[0]?.pid}`, 'who has it is named')

    await lab.terminate(1)
    for (const name of fs.readdirSync(mirror).filter((file) => file.endsWith('.lmdb'))) {
      fs.writeFileSync(join(mirror, name), 'rubbish')
    }
    t.match(await refusal(lab, 1), /is damaged.*move the directory away.*ERR_STORE_CORRUPT/)
    fs.rmSync(mirror, { recursive: true })

    await lab.start(1)
    t.equal(await lab.awaitOwner(), 1)
    fs.writeFileSync(join(folder, 'key'), `${'5'.repeat(64)}\n`, { mode: 0o600 })
    await lab.start(2)
    const over = () => lab.status()[1]?.state === 'ended'
    await lab.until(over, 5_000, 'a node with a foreign key lives on')
    t.match(fs.readFileSync(lab.status()[1]?.log ?? '', 'utf8'), /another key.*ERR_KEY_FOREIGN/)
    t.equal(lab.owner, 1, 'the owner is not disturbed')
  } finally {
    await lab.close()
  }
  t.ok(await gone(lab.id))
})

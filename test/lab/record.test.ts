/**
 * O2: what a node has recorded of a take-over: Wireshark's reader opens it without complaint, and whoever plays it to himself comes to
 * the shadows that the node had.
 */
import { type spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { parseBinding } from '../../cluster/index.js'
import { fetchView } from '../../cluster/io/index.js'
import { LmdbMirrorStore } from '../../cluster/io/lmdb-mirror-store.js'
import { Snooper } from '../../cluster/snooper.js'
import { decodeTcbRecord } from '../../cluster/tcb-record.js'
import { Wiretap } from '../../cluster/wiretap.js'
import { Lab } from '../../scripts/lab/lab.js'
import { readCaptureFile } from '../../scripts/replay/capture-file.js'
import { DropCounters, type Tcb } from '../../stack/index.js'
import { TCB_FIELDS } from '../../stack/tcp/tcb.js'
import { EthernetHeader, parseEthernet } from '../../stack/wire/ethernet.js'
import { killOwner, whyNoLab } from './support.js'

const noLab = await whyNoLab()
const noTshark =
  spawnSync('tshark', ['--version']).status === 0
    ? false
    : 'no tshark: apt-get install -y tshark brings it'

// A client that says a line on each of three connections whenever it is told to, and keeps them.
const TALKER = `
const net = require('node:net')
const [, host, port] = process.argv
const sockets = [1, 2, 3].map((n) => net.connect(Number(port), host))
let answers = 0
for (const s of sockets) s.on('data', (d) => { answers += d.length; if (answers % 300 === 0) console.log('answered') })
process.stdin.on('data', () => { for (const s of sockets) s.write('x'.repeat(100)) })
`

function answered(talker: ReturnType<typeof spawn>): Promise<void> {
  return new Promise((resolve, reject) => {
    talker.stdout?.once('data', () => resolve())
    talker.once('close', () => reject(new Error('the client ended')))
    talker.stdin?.write('go')
  })
}

/** The shadows of `binding` that a node comes to which hears what `file` holds. */
async function replayed(file: string, address: string): Promise<Snooper> {
  const drops = new DropCounters()
  const snooper = new Snooper(parseBinding(1, address), drops)
  const wiretap = new Wiretap(drops)
  wiretap.add(snooper)
  const ethernet = new EthernetHeader()
  await readCaptureFile(
    file,
    ({ frame, at }) => {
      parseEthernet(ethernet, frame)
      wiretap.onFrame(frame, ethernet, at)
    },
    () => {},
  )
  return snooper
}

// The recorder's clock is that of the day, the node's another one.
const BY_CLOCK = ['tsOffset', 'tsRecentAt']

function differences(had: Tcb, played: Tcb): string[] {
  return TCB_FIELDS.filter((name) => !BY_CLOCK.includes(name) && had[name] !== played[name]).map(
    (name) => `${name}: had ${had[name]}, played ${played[name]}`,
  )
}

t.test('O2: a recorded take-over', { skip: noLab, timeout: 120_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-record-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const lab = await Lab.create({ nodes: 3, app: 'echo', record: folder })
  t.teardown(() => lab.close())
  await lab.startAll()
  const [host = ''] = lab.record.address.split('/')
  const talker = lab.spawnInClient(
    [process.execPath, '-e', TALKER, host, String(lab.record.port)],
    0,
    'pipe',
  )
  t.teardown(() => talker.kill())
  for (let i = 0; i < 5; i++) await answered(talker)
  const { to } = await killOwner(lab)
  for (let i = 0; i < 5; i++) await answered(talker)
  const peer = lab.record.nodes.map(({ id }) => id).find((id) => id !== 1 && id !== to) as number
  // Long enough for the last acknowledgements, and for the mirror to be written.
  await delay(1000)
  const view = await fetchView({ socket: lab.operatorSocket(peer) })
  const shadows = view.nodes[0]?.bindings[0]?.told ?? []
  await lab.kill(peer)

  await t.test('plays to the shadows that the node had', async (t) => {
    const snooper = await replayed(join(folder, `node${peer}.pcapng`), lab.record.address)
    const store = new LmdbMirrorStore({
      path: join(lab.record.folder, `node${peer}`, 'mirror'),
      cluster: `lab-${lab.record.id}`,
      node: peer,
    })
    const flows = [...store.flows(1)]
    t.equal(flows.length, 3)
    t.equal(shadows.filter(({ verdict }) => verdict === 'ready').length, 3)
    for (const { key, record } of flows) {
      const had = decodeTcbRecord(record)?.tcb as Tcb
      const shadow = snooper.table.find(key.localPort, key.remoteAddress, key.remotePort)
      t.same(differences(had, shadow?.tcb as Tcb), [], `port ${key.remotePort}`)
      t.equal(shadow?.verdict, 'ready')
      t.equal(shadow?.tcb.rcvNxtOffset, 1000)
    }
    store.close()
  })

  await t.test('opens in tshark without a complaint', { skip: noTshark }, async (t) => {
    for (const { id } of lab.record.nodes) {
      const file = join(folder, `node${id}.pcapng`)
      const checks = ['ip', 'tcp', 'udp'].flatMap((p) => ['-o', `${p}.check_checksum:TRUE`])
      const tshark = (...args: string[]) => {
        const done = spawnSync('tshark', ['-r', file, ...checks, ...args], { encoding: 'utf8' })
        const notes = done.stderr
          .split('\n')
          .filter((line) => line !== '' && !/Running as user/.test(line))
        t.same([done.status, notes], [0, []], `node ${id}`)
        return done.stdout
      }
      const bad =
        '_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0'
      t.equal(tshark('-Y', bad), '')
      t.match(tshark('-Y', 'tcp.checksum.status == 1', '-c', '200'), /TCP/)
      t.match(tshark('-Y', 'frame.comment', '-T', 'fields', '-e', 'frame.comment'), /own/)
      t.match(tshark('-T', 'fields', '-e', 'frame.interface_name', '-c', '1'), /\w/)
    }
  })
})

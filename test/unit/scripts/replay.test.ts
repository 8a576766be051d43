/** `understudy replay` as a user meets it. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { captureFrame, captureHeader } from '../../../stack/link/pcapng.js'
import { parseIpv4Address } from '../../../stack/wire/ipv4.js'
import { ACK, encodeEthernet, encodeIp, encodeTcp, FIN, PROTOCOL, SYN } from '../../packet/codec.js'

const PROGRAM = fileURLToPath(new URL('../../../scripts/understudy.js', import.meta.url))
const folder = fs.mkdtempSync(join(tmpdir(), 'understudy-replay-test-'))
t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))

function understudy(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...args], {
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}

const [CLIENT, SERVER] = [parseIpv4Address('10.0.0.1'), parseIpv4Address('10.0.0.2')]

function frame(fromClient: boolean, flags: number, seq: number, ack: number, text = ''): Buffer {
  const [src, dst] = fromClient ? [CLIENT, SERVER] : [SERVER, CLIENT]
  const [srcPort, dstPort] = fromClient ? [4000, 80] : [80, 4000]
  const tcp = { srcPort, dstPort, seq, ack, flags, wnd: 9000, mss: flags & SYN ? 1460 : undefined }
  const segment = encodeTcp({ ...tcp, text: Buffer.from(text) }, src, dst)
  return encodeEthernet(2, 4, 0x0800, encodeIp(src, dst, PROTOCOL.TCP, segment))
}

const frames = [
  frame(true, SYN, 1000, 0),
  frame(false, SYN | ACK, 5000, 1001),
  frame(true, ACK, 1001, 5001, 'GET'),
  frame(false, FIN | ACK, 5001, 1004, 'body'),
  frame(true, FIN | ACK, 1004, 5006),
]
const capture = Buffer.concat([
  captureHeader({ name: 'us1' }),
  ...frames.map((bytes, i) => captureFrame(bytes, 0, bytes.length, 1000 + i)),
])
const path = join(folder, 'trace.pcapng')
fs.writeFileSync(path, capture)

t.test(
  'O2: replay prints one object of the connections, also of a compressed capture',
  async (t) => {
    const packed = join(folder, 'trace.pcapng.gz')
    fs.writeFileSync(packed, gzipSync(capture))
    for (const file of [path, packed]) {
      const { status, stdout } = understudy('replay', '--json', file)
      t.equal(status, 0)
      t.match(JSON.parse(stdout), {
        frames: 5,
        connections: [
          {
            client: '10.0.0.1|4000',
            server: '10.0.0.2|80',
            final: 'closed',
            verdict: 'ready',
            c2s: {
              bytes: 3,
              sha256: createHash('sha256').update('GET').digest('hex'),
              options: { mss: 1460 },
            },
            s2c: { bytes: 4, sha256: createHash('sha256').update('body').digest('hex') },
          },
        ],
      })
    }
  },
)

t.test('O2: replay for people: a report, each segment, and a stream', async (t) => {
  const report = understudy('replay', '--segments', path)
  t.equal(report.status, 0)
  t.match(report.stdout, /1 < Flags \[F\.\], seq 1:5, ack 4, win 9000, length 4\n/)
  t.match(report.stdout, /1 {2}10\.0\.0\.1:4000 > 10\.0\.0\.2:80 {2}closed {2}at 0\.000 s/)
  t.equal(understudy('replay', '--stream', '1', '--from-server', path).stdout, 'body')
  const out = join(folder, 'out')
  t.equal(understudy('replay', '--stream', '1', '--out', out, path).status, 0)
  t.equal(fs.readFileSync(out, 'utf8'), 'GET')
})

t.test('replay says what is wrong and what to do', async (t) => {
  const junk = join(folder, 'junk')
  fs.writeFileSync(junk, 'no capture')
  t.match(understudy('replay', junk), {
    status: 1,
    stderr: /octet 0.*neither.*\(ERR_INVALID_CAPTURE\)/,
  })
  t.match(understudy('replay', join(folder, 'none')), {
    status: 1,
    stderr: /no such file \(ERR_CAPTURE_FILE\)/,
  })
  t.match(understudy('replay', folder), { status: 1, stderr: /it is a folder/ })
  t.match(understudy('replay', '--stream', '7', path), {
    status: 1,
    stderr: /has 1 connection.*ERR_NO_SUCH_STREAM/,
  })
  t.match(understudy('replay'), { status: 2, stderr: /name a capture file/ })
  t.match(understudy('replay', '--out', 'x', path), { status: 2, stderr: /--stream/ })
  t.match(understudy('replay', '--nonsense', path), { status: 2, stderr: /nonsense/ })
  t.match(understudy('replay', '--help'), { status: 0, stdout: /Usage: understudy replay/ })
})

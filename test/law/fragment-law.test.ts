/**
 * The shadow law under fragmentation: what a client sends is cut into fragments on its way, which are lost, doubled, swapped and at
 * times forged; the owner and the snooper beside it see the same frames, put the same segments together and hold the same Tcb.
 */
import t from 'tap'
import { Snooper } from '../../cluster/snooper.js'
import { Wiretap } from '../../cluster/wiretap.js'
import {
  type Connection,
  DropCounters,
  Frame,
  HEADROOM,
  Ipv4Header,
  type Nic,
  parseIpv4,
  type Stack,
  TCB_FIELDS,
  type Tcb,
} from '../../stack/index.js'
import {
  EthernetHeader,
  EtherType,
  emitEthernet,
  parseEthernet,
} from '../../stack/wire/ethernet.js'
import { emitIpv4 } from '../../stack/wire/ipv4.js'
import { CLIENT, newHost, OWNER, PORT } from './link.js'
import { Random } from './random.js'

const LIMITS = { receiveLimit: 60_000, sendLimit: 60_000 }
const CLIENT_MAC = 0x02_00_00_00_00_01
const OWNER_MAC = 0x02_00_00_00_00_02

class Path {
  now = 1_000_000
  readonly random: Random
  readonly client: Stack
  readonly #clientNic: Nic
  readonly owner: Stack
  readonly #ownerNic: Nic
  readonly snooper = new Snooper(
    { id: 1, address: OWNER, prefix: 24, firstPort: 1, lastPort: 65_535 },
    new DropCounters(),
  )
  readonly wiretap = new Wiretap(this.snooper.drops)
  fragments = 0
  readonly #late: Frame[] = []
  readonly #ethernet = new EthernetHeader()
  readonly #ip = new Ipv4Header()

  constructor(random: Random) {
    this.random = random
    this.wiretap.add(this.snooper)
    ;[this.client, this.#clientNic] = newHost(CLIENT, CLIENT_MAC, random, LIMITS)
    ;[this.owner, this.#ownerNic] = newHost(OWNER, OWNER_MAC, random, LIMITS)
  }

  /** One round: both send what they have, time goes on to the next deadline or a little. */
  round(): void {
    const { client, owner, now } = this
    for (let f = owner.pollTransmit(now); f !== null; f = owner.pollTransmit(now)) {
      this.#overhear(f)
      client.receive(this.#clientNic, f, now)
    }
    const frames: Frame[] = []
    for (let f = client.pollTransmit(now); f !== null; f = client.pollTransmit(now)) {
      frames.push(...this.#cut(f))
    }
    for (const frame of [...this.#late.splice(0), ...frames]) {
      if (this.random.chance(0.03)) this.#late.push(frame)
      else if (!this.random.chance(0.02)) this.#arrive(frame)
      if (this.random.chance(0.05)) this.#arrive(frame)
    }
    const next = Math.min(client.nextDeadline(), owner.nextDeadline(), now + 50)
    this.now = Math.max(now + 1, next)
    client.handleTimeout(this.now)
    owner.handleTimeout(this.now)
    this.wiretap.handleTimeout(this.now)
    this.snooper.handleTimeout(this.now)
  }

  #arrive(frame: Frame): void {
    this.#overhear(frame)
    this.owner.receive(this.#ownerNic, frame, this.now)
  }

  #overhear(frame: Frame): void {
    parseEthernet(this.#ethernet, frame)
    if (this.#ethernet.etherType !== EtherType.IPV4) return
    this.wiretap.onFrame(frame, this.#ethernet, this.now)
  }

  #cut(frame: Frame): Frame[] {
    parseEthernet(this.#ethernet, frame)
    const whole = new Frame(2048)
    whole.copyFrom(frame)
    if (this.#ethernet.etherType !== EtherType.IPV4 || this.random.chance(0.3)) return [whole]
    const ip = this.#ip
    parseIpv4(ip, frame.view, this.#ethernet.payloadStart, this.#ethernet.payloadEnd)
    const length = ip.payloadEnd - ip.payloadStart
    const pieces: Frame[] = []
    let at = 0
    while (at < length) {
      const step = 64 + 8 * this.random.below(80)
      const to = Math.min(at + step, length)
      pieces.push(this.#piece(frame, ip, at, to, length))
      // At times somebody forges a piece that overlaps the next one.
      if (to < length && this.random.chance(0.02))
        pieces.push(this.#piece(frame, ip, at, to - 8, length))
      at = to
    }
    this.fragments += pieces.length
    if (this.random.chance(0.3)) pieces.reverse()
    return pieces
  }

  #piece(frame: Frame, ip: Ipv4Header, from: number, to: number, length: number): Frame {
    const out = new Frame(2048)
    out.start = HEADROOM
    out.end = HEADROOM + to - from
    out.bytes.set(frame.bytes.subarray(ip.payloadStart + from, ip.payloadStart + to), HEADROOM)
    emitIpv4(out, ip.src, ip.dst, ip.protocol, ip.ident, 64, to < length ? 1 : 0, 0, from)
    emitEthernet(out, OWNER_MAC, CLIENT_MAC, EtherType.IPV4)
    return out
  }
}

function differing(a: Tcb, b: Tcb): string {
  const fields = TCB_FIELDS.filter((field) => a[field] !== b[field])
  return fields.map((field) => `${field}: owner ${a[field]}, shadow ${b[field]}`).join('; ')
}

/** Sends `text` from the client to the owner. Returns what the owner read, and where its shadow differed. */
function run(path: Path, text: Uint8Array): { read: Buffer; wrong: string; checks: number } {
  const listener = path.owner.listen(OWNER, PORT)
  const connection = path.client.connect(OWNER, PORT, path.now, CLIENT)
  const chunks: Buffer[] = []
  const chunk = Buffer.alloc(70_000)
  let owner: Connection | null = null
  let written = 0
  let checks = 0
  let length = 0
  for (let i = 0; i < 20_000 && length < text.length; i++) {
    path.round()
    path.owner.pollAccept()
    owner ??= listener.accept()
    if (connection.state >= 4) written += connection.write(text, written, text.length)
    if (owner === null) continue
    const shadow = path.snooper.table.find(PORT, CLIENT, connection.localPort)
    if (shadow === undefined) return { read: Buffer.concat(chunks), wrong: 'no shadow', checks }
    const wrong = differing(owner.tcb, shadow.tcb)
    if (wrong !== '')
      return { read: Buffer.concat(chunks), wrong: `at ${path.now}: ${wrong}`, checks }
    checks++
    const count = owner.read(chunk, 0, chunk.length)
    chunks.push(Buffer.from(chunk.subarray(0, count)))
    length += count
  }
  return { read: Buffer.concat(chunks), wrong: '', checks }
}

t.test('P11: a shadow puts fragments together exactly as its owner does', (t) => {
  let fragments = 0
  let overlaps = 0
  let checks = 0
  for (let seed = 1; seed <= 40; seed++) {
    const path = new Path(new Random(seed))
    const text = path.random.bytes(30_000)
    const outcome = run(path, text)
    t.equal(outcome.wrong, '', `seed ${seed}`)
    t.ok(
      outcome.read.equals(text),
      `seed ${seed}: the stream arrives whole: ${outcome.read.length} octets`,
    )
    fragments += path.fragments
    checks += outcome.checks
    overlaps += path.owner.drops.toJSON()['ip-fragment-overlap'] ?? 0
    t.strictSame(
      path.snooper.drops.toJSON()['ip-fragment-overlap'] ?? 0,
      path.owner.drops.toJSON()['ip-fragment-overlap'] ?? 0,
    )
  }
  t.ok(fragments > 2000 && overlaps > 20, `${fragments} fragments, ${overlaps} dropped for overlap`)
  t.ok(checks > 300, `${checks} comparisons`)
  t.end()
})

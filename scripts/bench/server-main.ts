/**
 * The bench's server: a bare stack on a TAP with a sink on port 9, a source on 19 and an echo on 7, by the same sockets that
 * applications use. With `snoop` in place of the services it is a standby that watches the address of another.
 *
 * Started as `server-main.js serve|snoop TAP MAC ADDRESS offload|plain` with --expose-gc; answers each line on standard input
 * with a line of JSON: what it uses of memory, or, where the line says `cpu`, of the processor.
 */
import { createInterface } from 'node:readline'
import { parseBinding } from '../../cluster/binding.js'
import { NO_CHECKPOINT, purge } from '../../cluster/retention.js'
import { Snooper } from '../../cluster/snooper.js'
import { Wiretap } from '../../cluster/wiretap.js'
import { DropCounters, NEVER, parseIpAddress, parseMacAddress, Stack } from '../../stack/index.js'
import { Driver } from '../../stack/io/driver.js'
import { systemClock } from '../../stack/io/system-clock.js'
import { SystemRng } from '../../stack/io/system-rng.js'
import { SPIN_US, Tap } from '../../stack/io/tap.js'
import type { Nic } from '../../stack/net/nic.js'
import { createNet, type Socket } from '../../stack/socket/net.js'

const CHUNK = Buffer.alloc(256 * 1024)
const SINK_SIZE = 256 * 1024
const PREFIX = 16

const [, , role = '', device = '', mac = '', address = '', link = ''] = process.argv

const tap = new Tap({
  name: device,
  mac: parseMacAddress(mac),
  offload: link === 'offload',
  persist: true,
})
const stack = new Stack({
  rng: new SystemRng(),
  secret: new Int32Array(4),
  maxConnections: 1_000_000,
})
const driver = new Driver<Nic>(stack, systemClock)
const nic = stack.addNic({ mac: tap.mac, mtu: tap.mtu, offload: tap.offload })
const local = parseIpAddress(address)
if (role === 'serve') {
  tap.setSpin(SPIN_US)
  serve()
} else snoop()
driver.attach(nic, tap)
driver.ref()

createInterface({ input: process.stdin })
  .on('line', (asked) => {
    say(asked === 'cpu' ? processor() : { ...usage(), connections: stack.tcp.demux.size })
  })
  .on('close', () => process.exit(0))
say({ event: 'ready' })

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

// Without a collection, which would be part of what is measured.
function processor(): { cpuMs: number; drops: number | null } {
  const { user, system } = process.cpuUsage()
  return { cpuMs: (user + system) / 1000, drops: tap.stats().kernelDrops }
}

function usage(): { octets: number } {
  for (let i = 0; i < 3; i++) globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return { octets: heapUsed + external }
}

function serve(): void {
  nic.setAddress(local, PREFIX, 'assigned')
  const net = createNet({
    stack,
    now: () => driver.now(),
    kick: () => driver.kick(),
  })
  const listen = (port: number, listener: (socket: Socket) => void, options = {}): void => {
    net
      .createServer({ noDelay: true, ...options }, (socket) => {
        socket.on('error', () => {})
        listener(socket)
      })
      .listen({ port, host: address, backlog: 4096 })
  }
  // As the kernel's sink does: everything is read into the same memory.
  const buffer = Buffer.alloc(SINK_SIZE)
  listen(9, (socket) => socket.resume(), { onread: { buffer, callback: () => true } })
  listen(7, (socket) => socket.on('data', (chunk) => socket.write(chunk)))
  listen(19, (socket) => {
    const fill = (): void => {
      while (socket.write(CHUNK));
    }
    socket.on('drain', fill)
    fill()
  })
}

function snoop(): void {
  nic.setAddress(local, PREFIX, 'observed')
  const snooper = new Snooper(
    parseBinding(1, `${address}/${PREFIX}`, '1-65535'),
    new DropCounters(),
  )
  const wiretap = new Wiretap(snooper.drops)
  wiretap.add(snooper)
  nic.snoop = { onFrame: (frame, ethernet, now) => wiretap.onFrame(frame, ethernet, now) }
  driver.addParticipant({
    nextDeadline: () => NEVER,
    handleTimeout: () => {},
    // In place of the mirror: what is kept is what a standby of an application without checkpoints keeps.
    afterReceive() {
      for (const shadow of snooper.dirty) {
        purge(shadow, NO_CHECKPOINT)
        shadow.dirty = false
      }
      snooper.dirty.length = 0
      snooper.removed.length = 0
    },
  })
}

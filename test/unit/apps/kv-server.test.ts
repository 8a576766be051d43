/**
 * A connection of the key-value store without a network: what becomes of its requests while another node's claim is known to the store
 * and not to this node, which carries the connection (P20).
 */
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { createKvServer } from '../../../apps/kv/server.js'
import { MemoryCheckpointStorage, MemoryCheckpointStore } from '../../../cluster/memory-store.js'
import type { Socket } from '../../../stack/socket/net.js'
import { MemorySocket } from './nfs-client.js'

function answered({ out }: MemorySocket): string {
  return Buffer.concat(out).toString('latin1')
}

t.test('A4 P20: a request between two terms waits and is carried out once', async (t) => {
  const storage = new MemoryCheckpointStorage()
  const [carrier, owner] = [new MemoryCheckpointStore(storage), new MemoryCheckpointStore(storage)]
  carrier.claim(1, 1)
  const socket = new MemorySocket()
  const moved = new MemorySocket()
  const serve = createKvServer(carrier)
  for (const each of [socket, moved]) serve(each as unknown as Socket)
  socket.send(Buffer.from('INCR a\r\n'))
  t.equal(answered(socket), ':1\r\n')
  owner.claim(1, 2)
  socket.send(Buffer.from('INCR a\r\nINC'))
  moved.send(Buffer.from('INCR a\r\n'))
  t.ok(socket.paused, 'no more is read')
  t.equal(answered(socket), ':1\r\n', 'and nothing answered')
  moved.destroy()
  socket.send(Buffer.from('R a\r\n'))
  carrier.claim(1, 2)
  while (socket.out.length < 2) await delay(1)
  t.equal(answered(socket), ':1\r\n:2\r\n:3\r\n')
  t.equal(answered(moved), '', 'whose connection has ended, gets no answer')
  t.notOk(socket.paused)
})

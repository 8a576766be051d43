/**
 * A node that has nothing but a control channel: it listens and prints its port, until it is killed.
 */
import { WsControl } from '../../../cluster/io/ws-control.js'

const [id, key = ''] = process.argv.slice(2)
const control = new WsControl({
  id: Number(id),
  cluster: 'c',
  key: Buffer.from(key, 'hex'),
  onUp: () => undefined,
  onDown: () => undefined,
  onMessage: (from, bytes) => control.send(from, bytes),
})
const { port } = await control.listen()
process.send?.(port)

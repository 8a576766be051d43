/**
 * What an idle connection takes: heap and buffers, asked of the engine behind a collection, once it has carried text each way.
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const PROGRAM = fileURLToPath(new URL('./idle-bytes.js', import.meta.url))
const COUNT = 4000

const known = new Map<string, number>()

function octets(mode: 'connection' | 'socket' | 'shadow'): number {
  const before = known.get(mode)
  if (before !== undefined) return before

  const said = execFileSync(process.execPath, ['--expose-gc', PROGRAM, mode, String(COUNT)], {
    encoding: 'utf8',
  })
  const { octets, retained } = JSON.parse(said)
  known.set(mode, octets - retained)
  return octets - retained
}

t.test(
  'T6: an idle connection holds no memory but its state, a shadow only the text it keeps',
  (t) => {
    const [connection, shadow] = [octets('connection'), octets('shadow')]
    t.ok(connection < 900, `${connection} octets`)
    t.ok(shadow < 1000, `${shadow} octets besides the text`)
    t.end()
  },
)

t.test('T9: a socket takes little more than the stream that it is', (t) => {
  const added = octets('socket') - octets('connection')
  // A Duplex of Node's takes 500.
  t.ok(added < 1150, `${added} octets`)
  t.end()
})

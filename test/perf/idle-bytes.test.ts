/**
 * What an idle connection takes: heap and buffers, asked of the engine behind a collection, once it has carried text each way.
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const PROGRAM = fileURLToPath(new URL('./idle-bytes.js', import.meta.url))
const COUNT = 4000

const known = new Map<string, number>()

type Mode = 'connection' | 'socket' | 'shadow'

// What the engine has not let go of yet counts, too, so the least of some measurements is the truest.
function octets(mode: Mode, limit: number): number {
  let least = known.get(mode) ?? Number.POSITIVE_INFINITY
  for (let tries = 3; tries > 0 && least >= limit; tries--) {
    const said = execFileSync(process.execPath, ['--expose-gc', PROGRAM, mode, String(COUNT)], {
      encoding: 'utf8',
    })
    const { octets, retained } = JSON.parse(said)
    least = Math.min(least, octets - retained)
  }
  known.set(mode, least)
  return least
}

t.test(
  'T6: an idle connection holds no memory but its state, a shadow only the text it keeps',
  (t) => {
    const [connection, shadow] = [octets('connection', 900), octets('shadow', 1000)]
    t.ok(connection < 900, `${connection} octets`)
    t.ok(shadow < 1000, `${shadow} octets besides the text`)
    t.end()
  },
)

t.test('T9: a socket takes little more than the stream that it is', (t) => {
  const connection = octets('connection', 900)
  const added = octets('socket', connection + 1150) - connection
  // A Duplex of Node's takes 500.
  t.ok(added < 1150, `${added} octets`)
  t.end()
})

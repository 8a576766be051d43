/**
 * What strays in behind the end of a connection, and what nobody answers, is no connection whose beginning was missed: a take-over has
 * nothing to reset there, and no room is lost to it.
 */
import t from 'tap'
import { MAX_ENDED, STRAY_MS } from '../../../cluster/ended-flows.js'
import { HANDSHAKE_MS, MAX_HALF_OPEN } from '../../../cluster/shadow-table.js'
import { ACK, FIN, RST, SYN, TcpState } from '../../../stack/index.js'
import { MSL_MS } from '../../../stack/tcp/patience.js'
import { overhearing, PEER } from './overhearing.js'

t.test(
  'S2 D5: a FIN said again behind the end of a connection is not taken for another one',
  async (t) => {
    const { snooper, say, open } = overhearing()
    open()
    say('inbound', 101, 501, FIN | ACK)
    say('outbound', 501, 102, FIN | ACK)
    t.equal(snooper.table.size, 1)
    say('inbound', 102, 502, ACK)
    t.equal(snooper.table.size, 0, 'it is over')
    // The owner was too busy to read that, and the client answers once more.
    say('outbound', 501, 102, FIN | ACK, 1300)
    say('inbound', 102, 502, ACK, 1300)
    t.equal(snooper.table.size, 0)
    t.equal(snooper.stats.untracked, 0)
    // The next connection between the same endpoints is followed as any.
    open(1400)
    t.equal(snooper.table.find(80, PEER, 40_000)?.verdict, 'ready')
    say('inbound', 101, 501, RST, 1500)
    t.equal(snooper.table.size, 0)
    say('outbound', 501, 101, ACK, 1500)
    t.equal(snooper.table.size, 0, 'text that was on its way')
    say('outbound', 501, 101, ACK, 1500 + STRAY_MS)
    t.equal(snooper.table.find(80, PEER, 40_000)?.verdict, 'untracked', 'much later it is news')
  },
)

t.test('S2 D5: an unknown connection that the owner resets is none', async (t) => {
  const { snooper, say } = overhearing()
  say('inbound', 700, 900, ACK)
  t.equal(snooper.table.find(80, PEER, 40_000)?.verdict, 'untracked')
  say('outbound', 900, 0, RST)
  t.equal(snooper.table.size, 0)
  say('inbound', 700, 900, ACK, 1001)
  t.equal(snooper.table.size, 0, 'a stray behind it')
})

t.test('P27: while a snapshot is awaited, what is said last is kept for it', async (t) => {
  const { snooper, say } = overhearing()
  snooper.joining.begin()
  say('inbound', 700, 900, ACK)
  say('inbound', 700, 0, RST)
  t.equal(snooper.table.size, 1, 'the owner alone knows whether that was valid')
  t.equal(snooper.table.find(80, PEER, 40_000)?.closed, true, 'but a take-over leaves it alone')
  say('outbound', 900, 700, ACK)
  t.equal(snooper.table.find(80, PEER, 40_000)?.closed, false)
})

t.test(
  'T6: segments of no connection take no room from the shadows of those that live',
  async (t) => {
    const { snooper, say } = overhearing()
    say('inbound', 700, 900, ACK, 1000, 1)
    say('outbound', 900, 700, ACK, 1000, 1)
    for (let port = 2; port < 2 + MAX_HALF_OPEN + 1000; port++) {
      say('inbound', port, 5, ACK, 1001, port)
    }
    t.ok(snooper.table.size <= MAX_HALF_OPEN + 1, `${snooper.table.size} shadows`)
    t.ok(snooper.table.find(80, PEER, 1), 'of this one the owner has said something')
    snooper.handleTimeout(1002 + HANDSHAKE_MS)
    t.equal(snooper.table.size, 1, 'and what nobody answers is forgotten')
  },
)

t.test('no more ends are remembered than there is room for', async (t) => {
  const { snooper, say } = overhearing()
  for (let port = 1; port <= 50_000; port++) {
    say('inbound', 700, 900, ACK, 1000, port)
    say('outbound', 900, 0, RST, 1000, port)
  }
  t.equal(snooper.table.ended.size, MAX_ENDED)
})

t.test(
  'P18: TIME-WAIT lasts longer here than at the owner, and ends when the binding opens anew',
  async (t) => {
    const { snooper, say, open } = overhearing()
    const end = (): void => {
      open()
      say('outbound', 501, 101, FIN | ACK)
      say('inbound', 101, 502, FIN | ACK)
      say('outbound', 502, 102, ACK)
      t.equal(snooper.table.find(80, PEER, 40_000)?.tcb.state, TcpState.TIME_WAIT)
    }
    end()
    const ownersEnd = 1000 + 2 * MSL_MS
    snooper.handleTimeout(ownersEnd + 1000)
    t.equal(snooper.table.size, 1, 'the owner may still answer, and so might its successor')
    const over = snooper.nextDeadline()
    t.ok(over > ownersEnd && over < ownersEnd + MSL_MS)
    snooper.handleTimeout(over)
    t.equal(snooper.table.size, 0)
    end()
    say('inbound', 9000, 0, SYN, 2000)
    say('outbound', 8000, 9001, SYN | ACK, 2000)
    const shadow = snooper.table.find(80, PEER, 40_000)
    t.match(shadow?.tcb, { iss: 8000, irs: 9000, state: TcpState.SYN_RECEIVED })
  },
)

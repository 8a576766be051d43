/**
 * Acknowledgements where text comes one way only: how long one waits for company, and what is done where the path loses some.
 */
import t from 'tap'
import { DELAYED_ACK_MS, ONE_WAY_ACK_MS } from '../../stack/tcp/receiver.js'
import { ACK, established, IRS, ISS, octets, type PeerSegment, type Script } from './peer.js'

const SIZE = 1000

function segment(index: number): PeerSegment {
  return { seq: IRS + 1 + SIZE * index, ack: ISS + 1, flags: ACK, text: octets(SIZE, SIZE * index) }
}

/** The peer has sent `count` segments, one by one, and all of them are acknowledged. */
function heard(t: Parameters<typeof established>[0], count: number, sack = false): Script {
  const c = established(t, { sack })
  for (let i = 0; i < count; i++) {
    c.peerSends(segment(i))
    c.advance(DELAYED_ACK_MS)
    c.read()
  }
  c.ignores()
  return c
}

t.test('T5: who hears text one way only does not keep its acknowledgement for an answer', (t) => {
  const c = heard(t, 20)
  c.peerSends(segment(20))
  c.expectsNothing('a second segment may follow')
  c.advance(ONE_WAY_ACK_MS)
  c.expects({ ack: IRS + 1 + SIZE * 21 })
  c.peerSends(segment(21))
  c.write('answer')
  c.expects({ ack: IRS + 1 + SIZE * 22, text: 'answer' })
  c.peerSends(segment(22))
  c.advance(DELAYED_ACK_MS - 1)
  c.expectsNothing('who answers may do so again')
  c.advance(1)
  c.expects({ ack: IRS + 1 + SIZE * 23 })
  t.end()
})

t.test(
  'T5: where the path loses text, an acknowledgement of several segments leaves in two (RFC 5681 §4.2)',
  (t) => {
    for (const sack of [true, false]) {
      const c = heard(t, 20, sack)
      c.peerSends(segment(20), segment(21), segment(22))
      c.expects({ ack: IRS + 1 + SIZE * 23 })
      c.advance(DELAYED_ACK_MS)
      c.expectsNothing('nothing is known to be lost')

      c.peerSends(segment(24), segment(25), segment(26))
      const block = [IRS + 1 + SIZE * 24, IRS + 1 + SIZE * 27] as const
      for (let i = 0; i < 2; i++) {
        c.expects({ ack: IRS + 1 + SIZE * 23, text: '', sack: sack ? [block] : [] })
      }
      c.peerSends(segment(23), segment(27), segment(28))
      c.expects({ ack: IRS + 1 + SIZE * 28, text: '' })
      c.expects({ ack: IRS + 1 + SIZE * 29, text: '' })
      c.peerSends(segment(29))
      c.advance(ONE_WAY_ACK_MS)
      c.expects({ ack: IRS + 1 + SIZE * 30 })
      c.advance(DELAYED_ACK_MS)
      c.expectsNothing('all of one segment is told at once')
      t.equal(c.read(), octets(SIZE * 10, SIZE * 20))
      c.peerSends({ ...segment(30), text: octets(5000, SIZE * 30) })
      c.expects({ ack: IRS + 1 + SIZE * 30 + 3 * 1460 }, 'a super-frame is several segments')
      c.expects({ ack: IRS + 1 + SIZE * 35 })
      c.read()

      for (let i = 35; i < 1100; i += 32) {
        c.peerSends(...Array.from({ length: 32 }, (_, n) => segment(i + n)))
        c.read()
      }
      c.advance(ONE_WAY_ACK_MS)
      c.ignores()
      c.peerSends(segment(1123), segment(1124), segment(1125), segment(1126))
      c.advance(ONE_WAY_ACK_MS)
      t.equal(c.ignores().length, 1, 'the loss is long ago')
    }
    t.end()
  },
)

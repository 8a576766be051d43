/** Signs of life (P8): which silence shows what, and from when on. */
import t from 'tap'
import { FailureDetector } from '../../../cluster/failure-detector.js'
import { DEFAULT_TIMING } from '../../../cluster/index.js'

const { silenceMs, stuckMs } = DEFAULT_TIMING

function watching(): FailureDetector {
  const detector = new FailureDetector(DEFAULT_TIMING)
  detector.watch(2, 1000)
  return detector
}

t.test('P8: a node that says nothing at all is suspected of having stopped', (t) => {
  const detector = watching()
  t.equal(detector.suspects(2, 1000 + silenceMs - 1), null)
  t.equal(detector.nextDeadline(), 1000 + silenceMs, 'it is looked for then')
  t.equal(detector.suspects(2, 1000 + silenceMs), 'silence')
  detector.heard(2, 1000 + silenceMs)
  t.equal(detector.suspects(2, 1000 + silenceMs), null, 'any frame of its counts')
  t.end()
})

t.test('P8: a node whose heartbeat goes on and whose event loop does not is stuck', (t) => {
  const detector = watching()
  for (let now = 1000; now < 1000 + stuckMs; now += 10) {
    detector.heartbeat(2, now, 1000)
    t.equal(detector.suspects(2, now), null)
  }
  detector.heartbeat(2, 1000 + stuckMs, 1000)
  t.equal(detector.suspects(2, 1000 + stuckMs), 'stuck')
  t.end()
})

t.test(
  'P8: the end of a channel, or a closed port, shows at once that a process has ended',
  (t) => {
    const detector = watching()
    detector.heartbeat(2, 1001, 1001)
    detector.channel(2, false, 1001)
    t.equal(detector.suspects(2, 1001), 'eof')
    t.equal(detector.nextDeadline(), 0)
    detector.channel(2, true, 1002)
    t.equal(detector.suspects(2, 1002), null, 'there is one again')
    detector.heartbeat(2, 1002, 1002, true)
    t.equal(detector.suspects(2, 1003), 'eof')
    t.end()
  },
)

t.test('P8, D3: what was not heard while this node was stopped proves nothing', (t) => {
  const detector = watching()
  detector.heartbeat(2, 1000, 1000)
  detector.grace(5000)
  t.equal(detector.suspects(2, 5000 + silenceMs - 1), null)
  t.equal(detector.lastBeatAt(2), 1000, 'but is no heartbeat either')
  t.equal(detector.suspects(3, 5000), null, 'nobody knows of that one')
  t.end()
})

/** Suspicion (D3): from when on it is certain that the owner speaks no more. */
import t from 'tap'
import { FailureDetector } from '../../../cluster/failure-detector.js'
import { DEFAULT_TIMING } from '../../../cluster/index.js'
import { CROSSING_MS, Suspicion } from '../../../cluster/suspicion.js'

const { leaseMs, turnLeaseMs } = DEFAULT_TIMING
const MARGIN_MS = 10

function suspecting(quorate = false): { detector: FailureDetector; suspicion: Suspicion } {
  const detector = new FailureDetector(DEFAULT_TIMING)
  detector.watch(1, 1000)
  return { detector, suspicion: new Suspicion(detector, DEFAULT_TIMING, quorate) }
}

t.test('D3: without a fence the owner is waited for until its lease is over', (t) => {
  for (const quorate of [false, true]) {
    const { suspicion } = suspecting(quorate)
    suspicion.fence('eof', 1001)
    t.equal(suspicion.verdict(1, 5000), 'wait', 'the fence is on its way')
    suspicion.fenced(1, false, 1002)
    const over = 1000 + (quorate ? 2 : 1) * leaseMs + MARGIN_MS
    t.equal(suspicion.claimAt, over)
    t.equal(suspicion.verdict(1, over - 1), 'wait')
    t.equal(suspicion.verdict(1, over), 'claim')
  }
  const { detector, suspicion } = suspecting()
  suspicion.fence('stuck', 2000)
  detector.heartbeat(1, 2000, 1000)
  suspicion.fenced(1, false, 2001)
  t.ok(suspicion.claimAt >= 1000 + turnLeaseMs + MARGIN_MS)
  t.end()
})

t.test(
  'D3: what crossed the word of a candidate is heard before it claims without a fence',
  (t) => {
    const { suspicion } = suspecting()
    suspicion.fence('silence', 9000)
    suspicion.fenced(1, false, 9001)
    t.equal(suspicion.claimAt, 9000 + CROSSING_MS, 'though the lease is long over')
    suspicion.fence('silence', 9100)
    suspicion.fenced(1, true, 9101)
    t.equal(suspicion.claimAt, 9101, 'a fence that stands waits for nothing')
    t.end()
  },
)

/**
 * The owner is cut off behind each single frame of an exchange in turn; every run must end with every octet right.
 */
import t from 'tap'
import { cutAt, record } from './sweep.js'

/** What is wrong with a run in which nothing may be lost; empty when nothing is. */
function fault(result: ReturnType<typeof cutAt>, takeovers: number): string {
  const { violations, counts } = result
  if (violations.length > 0) return violations[0] as string
  const lost = Object.keys(counts.givenUp)
  if (lost.length > 0) return `given up: ${lost.join(', ')}`
  if (counts.done !== counts.connections) return `${counts.done} of ${counts.connections} done`
  return counts.takeovers === takeovers ? '' : `${counts.takeovers} take-overs`
}

t.test('P1 P22: an upload and a download survive a cut behind every single frame', (t) => {
  const { result, first, last } = record()
  t.equal(fault(result, 0), '', 'the exchange ends by itself when nothing fails')
  const bad: string[] = []
  for (let at = first; at <= last; at++) {
    const wrong = fault(cutAt(at), 1)
    if (wrong !== '') bad.push(`frame ${at}: ${wrong}`)
  }
  t.same(bad, [], `${last - first + 1} frames, from #${first} to #${last}, each the owner's last`)
  t.ok(last - first > 150, 'the exchange is long enough to mean something')
  t.end()
})

t.test('P1 D4: the next owner is cut off too, a few frames behind the first', (t) => {
  const { first, last } = record()
  const bad: string[] = []
  let runs = 0
  for (let at = first; at <= last; at += 7) {
    for (const again of [1, 5, 23]) {
      // Near the end nothing is left for the second cut to fall into.
      if (at + again + 60 > last) continue
      runs++
      const wrong = fault(cutAt(at, again), 2)
      if (wrong !== '') bad.push(`frames ${at} and ${again} later: ${wrong}`)
    }
  }
  t.same(bad, [], `${runs} pairs of cuts`)
  t.end()
})

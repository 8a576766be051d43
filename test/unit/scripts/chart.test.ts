/** The chart of the bench: what is better is green, whatever the unit, and text is text. */
import t from 'tap'
import { chart } from '../../../scripts/bench/chart.js'
import type { Result } from '../../../scripts/bench/measures.js'

const result = (name: string, unit: string, ratio: number | null): Result => ({
  name,
  offload: true,
  ours: 1,
  reference: 1,
  referenceName: 'kernel',
  unit,
  ratio,
  spread: [1, 1],
  runs: 1,
})

/** The class of each bar, by name, and its width. */
function bars(svg: string): Map<string, { good: boolean; width: number }> {
  const found = svg.matchAll(
    /class="name"[^>]*>(\S+) \(o\)<\/text>\n<rect class="(\w+)"[^>]*width="([\d.]+)"/g,
  )
  return new Map(
    [...found].map(([, name = '', kind, width]) => [
      name,
      { good: kind === 'good', width: Number(width) },
    ]),
  )
}

t.test('bars show ratios, and what is better is green', async (t) => {
  const svg = chart(
    [
      result('upload', 'Gbit/s', 2),
      result('download', 'Gbit/s', 0.5),
      result('latency-p50', 'us', 0.5),
      result('idle', 'octets', 4),
      result('none', 'us', null),
    ],
    'a <machine> & "more"',
  )
  const shown = bars(svg)
  t.same([...shown.keys()], ['upload', 'download', 'latency-p50', 'idle'])
  t.same(
    [...shown.values()].map(({ good }) => good),
    [true, false, true, false],
  )
  t.equal(
    shown.get('upload')?.width,
    shown.get('download')?.width,
    'twice and half are as far from 1',
  )
  t.ok((shown.get('idle')?.width ?? 0) > (shown.get('upload')?.width ?? 0))
  t.match(svg, 'a &#60;machine&#62; &#38; &#34;more&#34;')
})

/** The model of ownership, on runs that are quick: one that holds, and mutants of the protocol that it must find. */
import t from 'tap'
import { checkModel, RUNS, readReport, whyNoModel } from '../../../scripts/model.js'

const why = whyNoModel()
// The compiler takes most of it, seconds on a machine that has nothing else to do.
t.setTimeout(180_000)

t.test(
  'D3: with one death and one hand-over one node speaks at a time',
  { skip: why },
  async (t) => {
    const macros = ['CRASHES=1', 'STOPS=0', 'MOVES=1']
    const { broken, states } = checkModel({ name: 'small', macros })
    t.equal(broken, null)
    t.ok(states > 100, `${states} states`)
  },
)

t.test('D3: the model finds who claims without waiting for the lease', { skip: why }, async (t) => {
  const mutant = RUNS.find(({ name }) => name === 'no-lease-wait')
  t.ok(mutant?.breaks)
  if (mutant !== undefined) t.equal(checkModel(mutant).broken, 'never two hands')
})

t.test(
  'D3: a quorum silences who is cut off, and who owns without one is found',
  { skip: why },
  async (t) => {
    for (const name of ['quorum-control', 'no-fence', 'deaf-owner', 'deaf-claim']) {
      const run = RUNS.find((each) => each.name === name)
      if (run === undefined) t.fail(`there is no run ${name}`)
      else t.equal(checkModel(run).broken, run.breaks ? 'never two hands' : null, name)
    }
  },
)

t.test('a search that was cut short is no proof', async (t) => {
  const text = 'error: max search depth too small\n errors: 0\n 77 states, stored\n'
  t.throws(() => readReport('short', text), /not complete/)
  t.throws(() => readReport('none', 'pan: out of memory'), /not complete/)
  const whole = 'errors: 0\n 77 states, stored\n 99 transitions (= stored+matched)\n'
  t.same(readReport('whole', whole), { broken: null, states: 77, steps: 99 })
})

/**
 * `npm run model [-- NAME...]` checks the protocol of ownership as a model (cluster/model/ownership.pml) with Spin: runs that must hold,
 * runs that are known to break a property, and mutants, which must break one. Exit codes: 0 all is as it must be, 1 not, 2 no Spin.
 */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** What can be broken. */
export type Property = 'one speaker' | 'never two hands' | 'no dispute' | 'somebody owns'

export interface ModelRun {
  readonly name: string
  readonly what: string
  /** The model's macros, as `CRASHES=1`. */
  readonly macros: readonly string[]
  /** A property is broken, and that is known. */
  readonly breaks: boolean
}

export interface ModelResult {
  readonly broken: Property | null
  readonly states: number
  readonly steps: number
}

const FAULTLESS = ['CRASHES=0', 'STOPS=0', 'MOVES=0']

/** A run with these faults alone; the later one of two macros of a name counts. */
function run(name: string, what: string, macros: string, breaks = false): ModelRun {
  const own = macros.split(' ')
  const names = own.map((macro) => macro.split('=')[0])
  const rest = FAULTLESS.filter((macro) => !names.includes(macro.split('=')[0]))
  return { name, what, macros: [...rest, ...own], breaks }
}

export const RUNS: readonly ModelRun[] = [
  run('deaths', 'two deaths and a hand-over', 'CRASHES=2 MOVES=1'),
  run('stops', 'a stop, a death, a hand-over, any fence', 'CRASHES=1 STOPS=1 MOVES=1 FENCES=2'),
  run('losses', 'two hand-overs, of one the word is lost; a death', 'CRASHES=1 MOVES=2 LOSSES=1'),
  run('link-cut', 'the link is cut; a death, a stop', 'CRASHES=1 STOPS=1 LINK_CUTS=1 FENCES=2'),
  run('control-cut', 'the control network is cut', 'CONTROL_CUTS=1'),
  run(
    'quorum',
    'both networks are cut, and more than half must be heard and consent; a death, a hand-over',
    'BOTH_CUTS=1 CRASHES=1 MOVES=1 FENCES=0 QUORUM',
  ),
  run('quorum-cuts', 'the same, cut twice', 'BOTH_CUTS=2 CRASHES=1 FENCES=0 QUORUM'),
  run(
    'quorum-control',
    'the control network is cut around an owner that cannot be fenced: a quorum silences it',
    'CONTROL_CUTS=1 FENCES=0 QUORUM',
  ),
  run(
    'secret-term',
    'who is cut off right behind the death of the owner has no consent, and uses no term unheard',
    'BOTH_CUTS=1 CRASHES=1 FENCES=0 QUORUM',
  ),
  run(
    'nap',
    'an owner sleeps over the loss of its quorum, and wakes when the cut is over; a death',
    'BOTH_CUTS=1 STOPS=1 CRASHES=1 FENCES=0 QUORUM',
  ),
  run('split', 'both networks are cut, and no quorum is asked for', 'BOTH_CUTS=1 FENCES=0', true),
  run(
    'no-fence',
    'the control network is cut around an owner that lives and cannot be fenced',
    'CONTROL_CUTS=1 FENCES=0',
    true,
  ),
  run(
    'late-fence',
    'the control network is cut, and an owner that was started again is fenced only then',
    'CONTROL_CUTS=1 CRASHES=1',
    true,
  ),
  run(
    'stale-fence',
    'the control network is cut, and a fence comes behind a hand-over that was refused',
    'CONTROL_CUTS=1 MOVES=1',
    true,
  ),
  run(
    'forgotten-term',
    'who knows of a term is dead or stopped, and one that does not boots',
    'CRASHES=2 STOPS=1 MOVES=1',
    true,
  ),
  run('no-lease-wait', 'mutant: claims without waiting', 'STOPS=1 FENCES=0 NO_LEASE_WAIT', true),
  run('no-lease', 'mutant: who was stopped speaks on', 'STOPS=1 FENCES=0 NO_LEASE', true),
  run('no-turns', 'mutant: two claim at once', 'CRASHES=1 NO_TURNS', true),
  run('no-listening', 'mutant: who boots claims at once', 'CRASHES=1 NO_LISTENING', true),
  run(
    'deaf-owner',
    'mutant: owns without a quorum',
    'BOTH_CUTS=1 FENCES=0 QUORUM DEAF_OWNER',
    true,
  ),
  run(
    'deaf-claim',
    'mutant: claims without one',
    'BOTH_CUTS=1 FENCES=0 QUORUM DEAF_CLAIM NO_CONSENT',
    true,
  ),
  run(
    'late-fall',
    'mutant: falls silent when it likes',
    'BOTH_CUTS=1 FENCES=0 QUORUM LATE_FALL',
    true,
  ),
  run(
    'no-consent',
    'mutant: claims with a quorum that it hears, and asks nobody',
    'BOTH_CUTS=1 CRASHES=1 FENCES=0 QUORUM NO_CONSENT',
    true,
  ),
  run(
    'short-wait',
    'mutant: waits for a lease where who was stopped may speak for two',
    'BOTH_CUTS=1 STOPS=1 FENCES=0 QUORUM SHORT_WAIT',
    true,
  ),
  run('early-transfer', 'mutant: speaks until the other does', 'MOVES=1 EARLY_TRANSFER', true),
]

const MODEL = fileURLToPath(new URL('../../cluster/model/ownership.pml', import.meta.url))
const DEPTH = 100_000
const PATIENCE_MS = 120_000

/** What is missing to check the model, and where it comes from; false when nothing is. */
export function whyNoModel(): string | false {
  for (const [command, from, flag] of [
    ['spin', 'Debian package spin', '-V'],
    ['cc', 'Debian package gcc', '--version'],
  ] as const) {
    if (spawnSync(command, [flag]).status !== 0)
      return `there is no ${command}: install it (${from})`
  }
  return false
}

/** Checks one run. Throws with what the tools said when they cannot, or when it takes more than two minutes. */
export function checkModel({ name, macros }: Pick<ModelRun, 'name' | 'macros'>): ModelResult {
  const folder = fs.mkdtempSync(join(tmpdir(), 'understudy-model-'))
  try {
    const tool = (command: string, args: readonly string[]): string => {
      const options = { cwd: folder, encoding: 'utf8', timeout: PATIENCE_MS } as const
      const { status, stdout, stderr, error } = spawnSync(command, args, options)
      if (status === 0) return stdout
      throw new Error(`${name}: ${command}: ${error?.message ?? `${stdout}${stderr}`.slice(-1000)}`)
    }
    tool('spin', [...macros.map((macro) => `-D${macro}`), '-a', MODEL])
    // Every property is one of states.
    tool('cc', ['-O0', '-w', '-DSAFETY', '-DCOLLAPSE', '-DMEMLIM=2000', '-o', 'pan', 'pan.c'])
    return readReport(name, tool('./pan', [`-m${DEPTH}`]))
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

/** Reads what a verifier made by Spin prints. Throws when it did not go through all states, for no error. */
export function readReport(name: string, text: string): ModelResult {
  const number = (pattern: RegExp): number => Number(pattern.exec(text)?.[1])
  const [errors, states] = [number(/errors: (\d+)/), number(/(\d+) states, stored/)]
  const assertion = /assertion violated (.*) \(at depth/.exec(text)?.[1]
  const complete = errors === 0 ? !/max search depth|Search not completed/.test(text) : assertion
  if (!(states > 0) || !complete) throw new Error(`${name}: the search is not complete: ${text}`)
  const broken = assertion === undefined ? null : propertyOf(assertion)
  return { broken, states, steps: number(/(\d+) transitions/) }
}

// By what the model's assertions are about.
function propertyOf(assertion: string): Property {
  if (assertion.includes('spokenEpoch')) return 'one speaker'
  if (assertion.includes('<=')) return 'no dispute'
  return /^[( ]*!/.test(assertion) ? 'never two hands' : 'somebody owns'
}

function main(names: readonly string[]): number {
  const unknown = names.find((name) => !RUNS.some((each) => each.name === name))
  if (unknown !== undefined) {
    const known = RUNS.map(({ name }) => name).join(', ')
    process.stderr.write(`model: there is no run ${unknown}; there are ${known}.\n`)
    return 2
  }
  const why = whyNoModel()
  if (why !== false) {
    process.stderr.write(`model: ${why}\n`)
    return 2
  }
  let wrong = 0
  for (const each of RUNS) {
    if (names.length > 0 && !names.includes(each.name)) continue
    const { broken, states, steps } = checkModel(each)
    const fine = (broken !== null) === each.breaks
    if (!fine) wrong++
    const result = broken === null ? 'holds' : `breaks "${broken}"`
    const told = fine ? (each.breaks ? 'as expected' : '') : 'WRONG'
    const counts = `${states} states, ${steps} steps`
    process.stdout.write(
      `${each.name.padEnd(16)} ${`${result} ${told}`.trim().padEnd(38)} ${counts.padEnd(32)} ${each.what}\n`,
    )
  }
  return wrong === 0 ? 0 : 1
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exit(main(process.argv.slice(2)))

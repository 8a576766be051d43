/**
 * Which requirements of RFC 9293 are cited in the code, shown by a test, or waived; and where each behaviour that other
 * stacks test is shown. Prints Markdown; `--json` one object; `--check` fails when something is missing.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { BEHAVIOURS } from './coverage/behaviours.js'
import { RFC9293 } from './coverage/rfc9293.js'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** A requirement or behaviour with what shows it. */
export interface Row {
  readonly id: string
  readonly text: string
  /** Files that cite it, relative to the root. */
  readonly code: readonly string[]
  readonly tests: readonly string[]
  readonly waived: string
  /** Not shown and not waived, or shown by something that is not there. */
  readonly missing: boolean
}

function filesBelow(folder: string, endings: readonly string[]): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => endings.some((ending) => name.endsWith(ending)))
    .map((name) => join(folder, name))
    .sort()
}

function citations(files: readonly string[]): Map<string, string[]> {
  const found = new Map<string, string[]>()
  for (const file of files) {
    const text = readFileSync(join(ROOT, file), 'utf8')
    for (const id of new Set(text.match(/\b(?:MUST|SHLD)-\d+\b/g))) {
      const before = found.get(id)
      if (before === undefined) found.set(id, [file])
      else before.push(file)
    }
  }
  return found
}

/** The requirements of RFC 9293. */
export function requirementRows(): Row[] {
  const code = citations(filesBelow('stack', ['.ts']))
  const tests = citations(filesBelow('test', ['.test.ts', '.pkt']))
  return RFC9293.map(({ id, text, waived = '' }) => {
    const shown = tests.get(id) ?? []
    const needed = id.startsWith('MUST')
    const missing = (needed && waived === '') === shown.length > 0 ? false : needed && waived === ''
    return { id, text, code: code.get(id) ?? [], tests: shown, waived, missing }
  })
}

/** The behaviours that other stacks test: each names the scripts and tests that show it. */
export function behaviourRows(): Row[] {
  const tests = filesBelow('test', ['.test.ts'])
  const scripts = filesBelow('test/packet/scripts', ['.pkt'])
  const texts = new Map(tests.map((file) => [file, readFileSync(join(ROOT, file), 'utf8')]))
  return BEHAVIOURS.map(({ id, text, tests: named = [], waived = '' }) => {
    const [, letter = '', number = ''] = /^([A-F])(\d+)$/.exec(id) ?? []
    const prefix = new RegExp(`^${letter.toLowerCase()}${number.padStart(2, '0')}[a-z]?-`)
    const own = scripts.filter((file) => prefix.test(basename(file)))
    const found = named.map((name) => tests.find((file) => texts.get(file)?.includes(name)))
    const shown = [...own, ...found.filter((file) => file !== undefined)]
    const missing = waived === '' ? shown.length === 0 || found.includes(undefined) : false
    return { id, text, code: [], tests: [...new Set(shown)], waived, missing }
  })
}

function table(rows: readonly Row[], withCode: boolean): string {
  const list = (files: readonly string[]): string =>
    files.map((file) => `\`${file.replace(/^(stack|test)\//, '')}\``).join(', ')
  const lines = rows.map(({ id, text, code, tests, waived, missing }) => {
    const shown = missing ? '**missing**' : waived === '' ? list(tests) || '–' : `waived: ${waived}`
    return withCode
      ? `| ${id} | ${text} | ${list(code)} | ${shown} |`
      : `| ${id} | ${text} | ${shown} |`
  })
  const head = withCode
    ? ['| id | what it asks for | cited in | shown by |', '| --- | --- | --- | --- |']
    : ['| id | behaviour | shown by |', '| --- | --- | --- |']
  return [...head, ...lines].join('\n')
}

function main(): void {
  const { values } = parseArgs({
    options: {
      check: { type: 'boolean' },
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) {
    console.log(
      'node build/scripts/rfc-coverage.js [--json | --check]\n\nWhat shows each requirement of RFC 9293.',
    )
    return
  }
  const requirements = requirementRows()
  const behaviours = behaviourRows()
  const missing = [...requirements, ...behaviours].filter((row) => row.missing)
  if (values.json) console.log(JSON.stringify({ requirements, behaviours }))
  else if (!values.check) {
    console.log(
      `# RFC 9293\n\n${table(requirements, true)}\n\n# Behaviours that other stacks test\n`,
    )
    console.log(table(behaviours, false))
  }
  for (const { id, text } of missing) console.error(`missing: ${id} ${text}`)
  if (values.check && missing.length > 0) process.exitCode = 1
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()

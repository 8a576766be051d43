/**
 * Checks the rules of the architecture that neither the compiler nor Biome knows: the layer rule, what the core must
 * not touch, names, lengths, hot files, head comments, and who writes the Tcb. `npm run tidy`; the tables are in
 * tidy-layers.ts, the rules in tidy-rules.ts.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import {
  checkBans,
  checkComments,
  checkHotPath,
  checkLayers,
  checkLengths,
  checkNames,
  checkTcbWriters,
  parse,
  tcbFields,
  type Violation,
} from './tidy-rules.js'

const FOLDERS = ['stack', 'cluster', 'apps', 'test', 'scripts']
const TCB = 'stack/tcp/tcb.ts'

/** Checks sources given as text by their path from the root, such as `stack/tcp/tcb.ts`. */
export function check(texts: ReadonlyMap<string, string>): Violation[] {
  const sources = [...texts].map(([path, text]) => parse(path, text))
  const tcb = sources.find((source) => source.path === TCB)
  const fields = tcb === undefined ? new Set<string>() : tcbFields(tcb)
  return sources.flatMap((source) => [
    ...checkLayers(source),
    ...checkBans(source),
    ...checkNames(source),
    ...checkLengths(source),
    ...checkHotPath(source),
    ...checkComments(source),
    ...checkTcbWriters(source, fields),
  ])
}

/** One violation as a line that editors can jump to. */
export function format(violation: Violation): string {
  const rule = violation.warning ? `${violation.rule} (warning)` : violation.rule
  return `${violation.path}:${violation.line}: ${rule}: ${violation.advice}`
}

/** Reads all TypeScript and module sources below `root`. */
export function readSources(root: string): Map<string, string> {
  const texts = new Map<string, string>()
  const visit = (folder: string): void => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = `${folder}/${entry.name}`
      if (entry.isDirectory()) visit(path)
      else if (/\.(ts|mjs)$/.test(entry.name))
        texts.set(path, readFileSync(join(root, path), 'utf8'))
    }
  }
  for (const folder of FOLDERS) if (existsSync(join(root, folder))) visit(folder)
  return texts
}

function main(root: string): void {
  const texts = readSources(root)
  const violations = check(texts)
  for (const violation of violations) console.log(format(violation))
  const errors = violations.filter((violation) => !violation.warning).length
  const warnings = violations.length - errors
  console.log(`tidy: ${texts.size} files, ${errors} violations, ${warnings} warnings`)
  if (errors > 0 || texts.size === 0) process.exitCode = 1
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  main(process.argv[2] ?? process.cwd())
}

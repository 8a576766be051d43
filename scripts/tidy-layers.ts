/**
 * The layer rule of the project as a table: which folder may import which. Read as one sentence: only io/ may touch
 * the world; only stack.ts may join IP and TCP; nobody imports upward; cluster sees the stack through one door.
 */

/** What the files of one layer may import: folders, single files, and packages (`node:` means all of Node's own). */
export interface Layer {
  readonly folders: readonly string[]
  readonly files: readonly string[]
  readonly packages: readonly string[]
}

const STACK_BELOW_SOCKET = [
  'stack',
  'stack/base',
  'stack/wire',
  'stack/link',
  'stack/tcp',
  'stack/net',
]
const SOCKET_PACKAGES = [
  'node:stream',
  'node:events',
  'node:net',
  'node:dgram',
  'node:buffer',
  'node:util',
]

/** The doors through which applications come in. */
const DOORS = [
  'stack/index.ts',
  'stack/socket/index.ts',
  'stack/socket/net.ts',
  'stack/io/index.ts',
  'cluster/index.ts',
  'cluster/io/index.ts',
]

/** Every layer may also import itself. */
export const LAYERS: Readonly<Record<string, Layer>> = {
  'stack/base': { folders: [], files: [], packages: [] },
  'stack/wire': { folders: ['stack/base'], files: [], packages: ['binary-parser'] },
  'stack/link': { folders: ['stack/base', 'stack/wire'], files: [], packages: [] },
  'stack/tcp': { folders: ['stack/base', 'stack/wire'], files: [], packages: [] },
  'stack/net': { folders: ['stack/base', 'stack/wire', 'stack/link'], files: [], packages: [] },
  stack: { folders: STACK_BELOW_SOCKET, files: [], packages: [] },
  'stack/socket': { folders: STACK_BELOW_SOCKET, files: [], packages: SOCKET_PACKAGES },
  'stack/io': {
    folders: ['stack/base', 'stack/wire', 'stack/link', 'stack/native'],
    files: [],
    packages: ['node:'],
  },
  'stack/native': {
    folders: ['stack/base', 'stack/wire', 'stack/link'],
    files: [],
    packages: ['node:'],
  },
  cluster: { folders: [], files: ['stack/index.ts'], packages: ['binary-parser'] },
  'cluster/io': {
    folders: ['cluster', 'stack/io', 'stack/native'],
    files: ['stack/index.ts'],
    packages: ['node:', 'ws', 'lmdb', 'prom-client', 'jsonc-parser'],
  },
  apps: { folders: [], files: DOORS, packages: ['node:', 'understudy', '@electric-sql/pglite'] },
}

/** The files that are doors themselves, or join what others keep apart, may reach what lies behind them. */
const DOORWAYS: Readonly<Record<string, readonly string[]>> = {
  'stack/index.ts': ['stack/socket', 'stack/io', 'stack/native'],
  'stack/socket/loopback.ts': ['stack/io'],
  'cluster/index.ts': ['cluster/io'],
}

/** The layer of a file: its folder in the table. Undefined for folders without a rule, such as test/. */
export function layerOf(path: string): string | undefined {
  const parts = path.split('/')
  const top = parts[0] ?? ''
  if (top === 'stack') return parts.length > 2 ? `stack/${parts[1]}` : 'stack'
  if (top === 'cluster') return parts[1] === 'io' && parts.length > 2 ? 'cluster/io' : 'cluster'
  if (top === 'apps') return 'apps'
  return undefined
}

/** Why `from` must not import `specifier`, or undefined when it may. Paths are relative to the root, with `/`. */
export function refuseImport(from: string, specifier: string): string | undefined {
  const layer = layerOf(from)
  if (layer === undefined) return undefined
  const rule = LAYERS[layer]
  if (rule === undefined)
    return `${layer}/ is not in the table of layers: add it to scripts/tidy-layers.ts`
  if (!specifier.startsWith('.')) {
    const allowed = rule.packages.some((name) => isPackage(specifier, name))
    if (allowed) return undefined
    return `${layer}/ must not import ${specifier}; it may import ${list(rule.packages)}`
  }
  const target = resolve(from, specifier)
  const targetLayer = layerOf(target)
  if (targetLayer === layer || rule.files.includes(target)) return undefined
  if (targetLayer !== undefined && rule.folders.includes(targetLayer)) return undefined
  if (targetLayer !== undefined && DOORWAYS[from]?.includes(targetLayer)) return undefined
  return `${layer}/ must not import ${target}; it may import ${list([...rule.folders, ...rule.files])}`
}

function isPackage(specifier: string, name: string): boolean {
  if (name === 'node:') return specifier.startsWith('node:')
  return specifier === name || specifier.startsWith(`${name}/`)
}

function list(names: readonly string[]): string {
  return names.length === 0 ? 'nothing of that kind' : names.join(', ')
}

/** The source file that a relative specifier means. */
function resolve(from: string, specifier: string): string {
  const parts = from.split('/').slice(0, -1)
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.') parts.push(part)
  }
  return parts.join('/').replace(/\.js$/, '.ts')
}

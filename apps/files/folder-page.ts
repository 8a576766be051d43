/** The page of a folder: its files and folders with sizes and dates, without those whose names begin with a dot. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** Names on one page at most. */
const MAX_NAMES = 5000

interface Entry {
  readonly name: string
  readonly size: number | null
  readonly modified: Date
}

/** The page of `folder`, which is at `path` of the server. It is what the folder is now: nothing of it is kept. */
export async function folderPage(folder: string, path: string): Promise<string> {
  const names = (await readdir(folder)).filter((name) => !name.startsWith('.')).sort()
  const entries: Entry[] = []
  for (const name of names.slice(0, MAX_NAMES)) {
    const info = await stat(join(folder, name)).catch(() => null)
    if (info === null || (!info.isFile() && !info.isDirectory())) continue
    entries.push({ name, size: info.isFile() ? info.size : null, modified: info.mtime })
  }
  const title = escaped(path)
  const up = path === '/' ? '' : '<tr><td><a href="../">../</a><td><td>\n'
  const more = names.length - entries.length
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${title}</title>
<style>
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
  body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
  table { border-collapse: collapse; width: 100% }
  td { padding: .1rem 1rem .1rem 0 }
  td:nth-child(2) { text-align: right; font-variant-numeric: tabular-nums }
  td:nth-child(3) { white-space: nowrap; opacity: .7 }
</style>
<h1>${title}</h1>
<table>
${up}${entries.map(row).join('\n')}
</table>
${more > 0 ? `<p>${more} more are not shown.</p>\n` : ''}</html>
`
}

function row({ name, size, modified }: Entry): string {
  const shown = size === null ? `${name}/` : name
  const date = modified.toISOString().slice(0, 16).replace('T', ' ')
  const link = `<a href="${encodeURIComponent(name)}${size === null ? '/' : ''}">${escaped(shown)}</a>`
  return `<tr><td>${link}<td>${size ?? ''}<td>${date}`
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
}

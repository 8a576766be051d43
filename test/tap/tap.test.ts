/**
 * Runs kernel.js, joined.js and cut.js in network namespaces of their own, as root; as an ordinary user inside a user namespace, where the kernel
 * allows one. Where neither is possible, says why.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const NAMESPACE = [
  '--net',
  ...(process.getuid?.() === 0 ? [] : ['--user', '--map-root-user', '--mount']),
]
const OPEN_TUN = "fs.closeSync(fs.openSync('/dev/net/tun', 'r+'))"

/** Why TAPs cannot be used here, or null. */
function obstacle(): string | null {
  const probe = spawnSync('unshare', [...NAMESPACE, process.execPath, '-e', OPEN_TUN])
  if (probe.error !== undefined) return `unshare: ${probe.error.message}`
  if (probe.status !== 0) {
    const lines = String(probe.stderr).trim().split('\n')
    return lines.find((line) => /^Error|^unshare/.test(line)) ?? 'unshare failed'
  }
  const ip = spawnSync('ip', ['-V'])
  return ip.error === undefined ? null : 'the command ip (Debian package iproute2) is missing'
}

const reason = obstacle()
if (reason === null) {
  for (const name of ['kernel', 'joined', 'cut']) {
    const file = fileURLToPath(new URL(`./${name}.js`, import.meta.url))
    t.spawn(
      'unshare',
      [...NAMESPACE, process.execPath, file],
      `TAP devices in a network namespace: ${name}`,
    )
  }
} else {
  t.comment(`no TAP can be opened here: ${reason}`)
  t.test('TAP devices', { skip: `no TAP can be opened here: ${reason}` }, async () => {})
}

/** The demo of the proxy with an unmodified OpenSSH (A7): an interactive session. */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { StackError } from '../../../stack/base/errors.js'
import { type AppDemo, isInstalled, SERVER, type Stage } from '../stage.js'

const PORT = '2222'
const LINES = 60
const SSHD = '/usr/sbin/sshd'
/** What the session runs: it answers each line. */
const SHELL = 'stty -echo; echo ready; n=0; while read line; do n=$((n+1)); echo "$n: $line"; done'

export const proxySshDemo: AppDemo = {
  name: 'proxy-ssh',
  summary: 'an unmodified OpenSSH behind the proxy: an interactive session, and a copy',
  whyNot() {
    if (process.getuid?.() !== 0) return 'sshd is to let a user in: start as root'
    if (isInstalled('ssh', ['-V']) && fs.existsSync(SSHD)) return null
    return 'there is no OpenSSH: install the Debian packages openssh-server and openssh-client'
  },
  lab: () => ({ app: 'proxy', to: `${SERVER}:${PORT}` }),
  async prepare(stage) {
    const folder = join(stage.scratch, 'ssh')
    fs.mkdirSync(folder, { mode: 0o700 })
    // sshd wants this one, wherever its configuration lies.
    fs.mkdirSync('/run/sshd', { recursive: true, mode: 0o755 })
    for (const name of ['host', 'user']) makeKey(join(folder, name))
    fs.copyFileSync(join(folder, 'user.pub'), join(folder, 'authorized'))
    const config = join(folder, 'sshd_config')
    const settings = [
      `ListenAddress ${SERVER}`,
      `Port ${PORT}`,
      `HostKey ${join(folder, 'host')}`,
      `AuthorizedKeysFile ${join(folder, 'authorized')}`,
      `PidFile ${join(folder, 'pid')}`,
      'PermitRootLogin prohibit-password',
      'PasswordAuthentication no',
      'StrictModes no',
      'UsePAM no',
      'PrintMotd no',
      'PrintLastLog no',
    ]
    fs.writeFileSync(config, `${settings.join('\n')}\n`)
    await stage.serve([SSHD, '-D', '-e', '-f', config], ssh(stage, SERVER, [], 'true'))
  },
  async play(stage) {
    const session = await stage.act(`an interactive session of ${LINES} lines`, async (turn) => {
      const client = stage.client(ssh(stage, stage.address, ['-tt'], SHELL), 'pipe')
      await client.reaches('ready\r\n'.length)
      for (let i = 1; i <= LINES; i++) {
        const ask = (): Promise<void> => client.ask(`line ${i}`)
        if (stage.isDue(i, LINES)) await turn.kill(ask)
        else await ask()
      }
      // End of file, as a person types it.
      client.child.stdin?.end('\u0004')
      await client.succeeded()
      return client
    })
    const copy = await stage.act('a copy of 32 MiB', (turn) => {
      const source =
        'head -c 33554432 /dev/zero | openssl enc -aes-128-ctr -nosalt -K 0 -iv 0 2>/dev/null'
      return turn.follow(stage.client(ssh(stage, stage.address, [], source)))
    })
    return [...session, ...copy]
  },
}

function ssh(stage: Stage, host: string, options: readonly string[], command: string): string[] {
  const folder = join(stage.scratch, 'ssh')
  const settings = [
    'BatchMode=yes',
    'StrictHostKeyChecking=no',
    'UserKnownHostsFile=/dev/null',
    'LogLevel=ERROR',
  ]
  const quiet = settings.flatMap((setting) => ['-o', setting])
  return [
    'ssh',
    '-F',
    'none',
    ...quiet,
    '-i',
    join(folder, 'user'),
    '-p',
    PORT,
    ...options,
    `root@${host}`,
    command,
  ]
}

function makeKey(path: string): void {
  const made = spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path], {
    encoding: 'utf8',
  })
  if (made.status !== 0)
    throw new StackError('ERR_DEMO_NO_SERVER', `ssh-keygen failed: ${made.stderr}`)
}

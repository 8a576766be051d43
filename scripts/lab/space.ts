/**
 * Where a lab's privileged commands run. Root works in the host's own list of network namespaces. An ordinary user gets
 * a user namespace in which he is root: a holder process keeps it, and every command joins it by the holder's id. The
 * holder reads from a pipe of its maker and ends with it, and everything inside ends with the holder.
 *
 * A space runs commands; it knows nothing of bridges and nodes.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { StackError } from '../../stack/base/errors.js'
import { type LabMode, ownsRun } from './lab-file.js'
import { identify, LAB_MARK, type ProcessIdentity } from './process-table.js'

const TUN = '/dev/net/tun'

// Runs inside the user namespace. `ip netns` wants a /run it may write to.
const HOLDER_SCRIPT =
  'mount -t tmpfs understudy-lab /run && mkdir -p /run/netns && echo ready && exec cat >/dev/null'

/** Errors after which a demo can still run on the in-memory hub. */
export const NO_LINK_CODES: ReadonlySet<string> = new Set([
  'ERR_LAB_NO_TUN',
  'ERR_LAB_NO_PRIVILEGE',
  'ERR_LAB_NO_COMMAND',
])

/** The environment for the commands of lab `id`: marked, and with the system's folders in PATH, which users may lack. */
export function labEnvironment(id: string): NodeJS.ProcessEnv {
  return { ...systemEnvironment(), [LAB_MARK]: id }
}

/** The environment with the system's folders in PATH, which users may lack. */
export function systemEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin` }
}

export class Space {
  readonly mode: LabMode
  readonly holder: ProcessIdentity | undefined
  readonly #labId: string
  readonly #child: ChildProcess | undefined

  private constructor(
    labId: string,
    mode: LabMode,
    holder: ProcessIdentity | undefined,
    child?: ChildProcess,
  ) {
    this.#labId = labId
    this.mode = mode
    this.holder = holder
    this.#child = child
  }

  /** Opens a space for a new lab. Throws ERR_LAB_NO_TUN, ERR_LAB_NO_COMMAND or ERR_LAB_NO_PRIVILEGE with what to do. */
  static async open(labId: string): Promise<Space> {
    requireTun()
    requireCommand('ip', 'iproute2', ['-V'])
    requireCommand('bridge', 'iproute2', ['-V'])
    if (ownsRun()) {
      const space = new Space(labId, 'root', undefined)
      space.requireNamespaces()
      return space
    }
    const child = spawn(
      'unshare',
      ['--user', '--map-root-user', '--net', '--mount', 'sh', '-c', HOLDER_SCRIPT],
      { stdio: ['pipe', 'pipe', 'pipe'], env: labEnvironment(labId), detached: true },
    )
    await holderReady(child)
    const holder = identify(child.pid ?? 0)
    if (holder === undefined) throw noPrivilege('the holder of the user namespace ended')
    const space = new Space(labId, 'user', holder, child)
    space.requireTunInside()
    return space
  }

  /** Joins the space of a lab that another process made. */
  static join(labId: string, mode: LabMode, holder: ProcessIdentity | undefined): Space {
    return new Space(labId, mode, holder)
  }

  /** The command line that runs `argv` inside the space, in the working folder of the caller. The process id is kept. */
  wrap(argv: readonly string[]): string[] {
    if (this.mode === 'root' || this.holder === undefined) return [...argv]
    const pid = String(this.holder.pid)
    const join = ['nsenter', '--preserve-credentials', '-U', '-n', '-m', '-t', pid]
    // Joining a mount namespace moves the process to its root.
    return [...join, 'sh', '-c', 'cd -- "$0" && exec "$@"', process.cwd(), ...argv]
  }

  /** The command line that runs `argv` in the network namespace `name` of the space. The process id is kept. */
  wrapIn(name: string, argv: readonly string[]): string[] {
    return this.wrap(['ip', 'netns', 'exec', name, ...argv])
  }

  /** Runs a shell script inside the space and returns its output. Throws ERR_LAB_COMMAND with what it said. */
  runScript(script: string): string {
    return this.#run(['sh', '-eu', '-c', script])
  }

  /** Runs a shell script in the network namespace `name`. Throws ERR_LAB_COMMAND with what it said. */
  runScriptIn(name: string, script: string): string {
    return this.#run(['ip', 'netns', 'exec', name, 'sh', '-eu', '-c', script])
  }

  /** Ends the holder, and with it the user namespace; the host's own list is left to the teardown. */
  close(): void {
    this.#child?.stdin?.destroy()
    this.#child?.kill('SIGKILL')
  }

  requireNamespaces(): void {
    const name = `us${this.#labId}-try`
    try {
      this.runScript(`ip netns add ${name} && ip netns del ${name}`)
    } catch (error) {
      throw noPrivilege((error as Error).message)
    }
  }

  requireTunInside(): void {
    try {
      this.runScript(`: <>${TUN}`)
    } catch (error) {
      this.close()
      throw new StackError('ERR_LAB_NO_TUN', `${TUN} cannot be opened: ${(error as Error).message}`)
    }
  }

  #run(argv: readonly string[]): string {
    const [command = '', ...args] = this.wrap(argv)
    const result = spawnSync(command, args, {
      encoding: 'utf8',
      env: labEnvironment(this.#labId),
      maxBuffer: 16 * 1024 * 1024,
    })
    if (result.status === 0) return result.stdout
    const said = (result.stderr ?? '').trim() || String(result.error ?? `exit ${result.status}`)
    throw new StackError('ERR_LAB_COMMAND', `a command of the lab failed: ${said}`)
  }
}

function requireTun(): void {
  let fd: number
  try {
    fd = fs.openSync(TUN, 'r+')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    const advice =
      code === 'ENOENT' || code === 'ENODEV'
        ? 'load it with `modprobe tun` as root, or start the container with --device /dev/net/tun'
        : 'allow it with `chmod 0666 /dev/net/tun` as root (what most distributions ship), or run as root'
    throw new StackError('ERR_LAB_NO_TUN', `${TUN} cannot be opened (${code}): ${advice}.`)
  }
  fs.closeSync(fd)
}

function requireCommand(name: string, debianPackage: string, args: readonly string[]): void {
  const result = spawnSync(name, args, { env: labEnvironment(''), stdio: 'ignore' })
  if (result.error === undefined) return
  throw new StackError(
    'ERR_LAB_NO_COMMAND',
    `the command ${name} is missing: install it (Debian package ${debianPackage}).`,
  )
}

function noPrivilege(reason: string): StackError {
  return new StackError(
    'ERR_LAB_NO_PRIVILEGE',
    `network namespaces may not be made here (${reason}): run as root, allow user namespaces ` +
      '(sysctl kernel.unprivileged_userns_clone=1, or kernel.apparmor_restrict_unprivileged_userns=0), ' +
      'or start the container with --privileged.',
  )
}

function holderReady(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = ''
    child.stderr?.on('data', (chunk) => {
      said += String(chunk)
    })
    child.on('error', (error) => reject(noPrivilege(error.message)))
    child.on('exit', () => reject(noPrivilege(said.trim() || 'unshare ended')))
    child.stdout?.once('data', () => resolve())
  })
}

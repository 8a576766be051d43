/**
 * The same program on node:net and on this stack: what it sees of both is put down and compared.
 */
import kernel from 'node:net'
import { createNet } from '../../../stack/socket/net.js'

/** `node:net`, or what stands for it. */
export type AnyNet = typeof kernel

export type Log = (...entry: unknown[]) => void

/** Ends when nothing more is to be seen. */
export type Scenario = (net: AnyNet, log: Log) => Promise<void>

/** What `scenario` puts down on node:net and on this stack. */
export async function both(scenario: Scenario): Promise<{ theirs: string[]; ours: string[] }> {
  const theirs = await run(scenario, kernel)
  const ours = await run(scenario, createNet() as unknown as AnyNet)
  return { theirs, ours }
}

async function run(scenario: Scenario, net: AnyNet): Promise<string[]> {
  const lines: string[] = []
  await scenario(net, (...entry) => lines.push(entry.map(show).join(' ')))
  return lines
}

function show(value: unknown): string {
  if (value instanceof AggregateError) return `${plain(value)} [${value.errors.map(plain)}]`
  if (value instanceof Error) return plain(value)
  if (typeof value === 'number' && value > 1023) return 'PORT'
  if (value instanceof Uint8Array) return String(value)
  if (typeof value === 'function') return 'function'
  if (typeof value !== 'object' || value === null) return String(value)
  if ('on' in value) return value.constructor.name
  return withoutPorts(JSON.stringify(value))
}

function plain(error: Error): string {
  const { name, message } = error
  const fields = Object.entries({ ...error, port: undefined }).sort()
  return `${name}: ${withoutPorts(message)} ${JSON.stringify(fields)}`
}

// Both ends take what ports are free.
function withoutPorts(text: string): string {
  return text.replaceAll(/(?<=[:"])\d{4,5}(?![\d.])/g, 'PORT')
}

/** Puts down every event of `emitter`, under `name`. */
export function spy<T extends { emit(event: never, ...args: never[]): boolean }>(
  name: string,
  emitter: T,
  log: Log,
  quiet: readonly string[] = [],
): T {
  const emit = emitter.emit.bind(emitter) as (event: string, ...args: unknown[]) => boolean
  const spying = (event: string, ...args: unknown[]): boolean => {
    if (!quiet.includes(event) && event !== 'newListener') log(name, event, ...args)
    return emit(event, ...args)
  }
  Object.assign(emitter, { emit: spying })
  return emitter
}

/** A server on 127.0.0.1, and its port. */
export async function serve(
  net: AnyNet,
  options: kernel.ServerOpts,
  onConnection: (socket: kernel.Socket) => void,
): Promise<{ server: kernel.Server; port: number }> {
  const server = net.createServer(options, onConnection)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { server, port: (server.address() as kernel.AddressInfo).port }
}

/** When `close` has come. */
export async function closing(emitter: kernel.Socket | kernel.Server): Promise<void> {
  await new Promise<void>((resolve) => emitter.once('close', () => resolve()))
}

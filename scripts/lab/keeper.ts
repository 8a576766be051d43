/**
 * The process that stays behind `understudy lab up`: it holds the lab, hears its nodes and takes commands on a socket in
 * the lab's folder, one JSON line for a command and one for its answer. It ends with the lab.
 *
 * Started with an IPC channel: the parent sends LabOptions and gets `{ lab }` or `{ error }` back, then lets go.
 */
import { chmodSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { StackError } from '../../stack/base/errors.js'
import { Lab, type LabOptions } from './lab.js'
import { controlSocket } from './lab-file.js'
import { openLabPage } from './lab-page.js'
import { type Command, describe, type LabStatus, type NodeCommand } from './lab-status.js'

let lab: Lab | undefined
let page: string | null = null
let settled = false

process.once('message', (options) => void open(options as LabOptions))
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => void close())
process.once('disconnect', () => {
  // The command was interrupted before the lab was up.
  if (!settled) void close()
})

async function open(options: LabOptions): Promise<void> {
  try {
    lab = await Lab.create(options)
    await lab.startAll()
    lab.startCounting()
    page = (await openLabPage(lab)).url
    await listen(lab)
    settled = true
    send({ lab: describe(lab, page) }, () => process.disconnect())
  } catch (error) {
    settled = true
    await lab?.close()
    const { code, message } = error as StackError
    send({ error: { code: code ?? 'ERR_LAB_COMMAND', message } }, () => process.exit(1))
  }
}

function send(reply: Reply, then: () => void): void {
  process.send?.(reply, undefined, undefined, then)
}

async function close(): Promise<void> {
  await lab?.close()
  process.exit(0)
}

function listen(lab: Lab): Promise<void> {
  const path = controlSocket(lab.record)
  const server = createServer((socket) => converse(lab, socket))
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      chmodSync(path, 0o600)
      resolve()
    })
  })
}

function converse(lab: Lab, socket: Socket): void {
  let text = ''
  socket.on('error', () => {})
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
    const end = text.indexOf('\n')
    if (end < 0) return
    socket.pause()
    answer(lab, text.slice(0, end)).then((reply) => {
      socket.end(`${JSON.stringify(reply)}\n`, () => {
        if ('closed' in reply) process.exit(0)
      })
    })
  })
}

type Reply = { lab: LabStatus } | { closed: true } | { error: { code: string; message: string } }

async function answer(lab: Lab, line: string): Promise<Reply> {
  try {
    const command = JSON.parse(line) as Command
    if (command.verb === 'down') {
      await lab.close()
      return { closed: true }
    }
    if (command.verb !== 'status') await obey(lab, command)
    return { lab: describe(lab, page) }
  } catch (error) {
    const { code, message } = error as StackError
    return { error: { code: code ?? 'ERR_LAB_COMMAND', message } }
  }
}

async function obey(lab: Lab, command: NodeCommand): Promise<void> {
  const id = command.node === 'owner' ? ownerOf(lab, command.verb) : Number(command.node)
  if (command.verb === 'kill') await lab.kill(id)
  else if (command.verb === 'stop') lab.stop(id)
  else if (command.verb === 'cont') lab.continue(id)
  else await lab.start(id)
}

/** For `cont`, "owner" means the node that was stopped: a stopped node owns nothing any more. */
function ownerOf(lab: Lab, verb: string): number {
  if (verb === 'cont') {
    const stopped = lab.status().filter((node) => node.state === 'stopped')
    if (stopped[0] !== undefined && stopped.length === 1) return stopped[0].id
    throw new StackError(
      'ERR_LAB_NODE',
      `${stopped.length} nodes are stopped: name one by its number.`,
    )
  }
  if (lab.owner !== undefined) return lab.owner
  throw new StackError('ERR_LAB_NODE', 'no node owns the address now: see `understudy lab status`.')
}

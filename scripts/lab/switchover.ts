/**
 * Planned transfer in a lab (P24): asks the owner to give the address to the next node, and waits until that node speaks for it.
 */
import { StackError } from '../../stack/base/errors.js'
import type { Lab } from './lab.js'

const LIMIT_MS = 5_000

/**
 * Makes node `id` hand over what it owns; resolves with the new owner. Throws ERR_LAB_SWITCHOVER when the node owns nothing, no
 * other node is up, or the other one could not have gone on with every connection: then `id` owns as before.
 */
export async function switchOver(lab: Lab, id: number): Promise<number> {
  const pid = lab.status().find((node) => node.id === id)?.pid ?? null
  if (pid === null || lab.owner !== id) {
    throw new StackError('ERR_LAB_SWITCHOVER', `node ${id} owns nothing: name the owner.`)
  }
  const begun = lab.events.length
  const told = (...names: string[]) =>
    lab.events.slice(begun).find(({ event }) => names.includes(String(event)))
  process.kill(pid, 'SIGUSR2')
  const decided = () => told('owner', 'switchover-failed') !== undefined
  await lab.until(decided, LIMIT_MS, `node ${id} has not handed over`)
  const failed = told('switchover-failed', 'handover-refused')
  if (failed === undefined && lab.owner !== undefined && lab.owner !== id) return lab.owner
  const reason = String(failed?.message ?? 'the next node lacks something of a connection')
  throw new StackError('ERR_LAB_SWITCHOVER', `node ${id} goes on: ${reason}.`)
}

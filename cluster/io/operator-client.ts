/**
 * Asks an OperatorServer for its view (O3), over TCP or a Unix socket.
 */
import { request } from 'node:http'
import { StackError } from '../../stack/index.js'
import type { OperatorAddress, OperatorView } from './operator-server.js'

const PATIENCE_MS = 2000

/** Resolves with what the node or lab at `address` tells. Rejects with ERR_OPERATOR_UNREACHABLE. */
export function fetchView(
  address: OperatorAddress,
  patienceMs = PATIENCE_MS,
): Promise<OperatorView> {
  const place = 'socket' in address ? { socketPath: address.socket } : address
  const name = 'socket' in address ? address.socket : `${address.host}:${address.port}`
  return new Promise((resolve, reject) => {
    const refuse = (reason: string) =>
      reject(
        new StackError(
          'ERR_OPERATOR_UNREACHABLE',
          `${name}: ${reason}; does the node run, and has its configuration a section "operator" with this address?`,
        ),
      )
    const asked = request({ ...place, path: '/status', timeout: patienceMs }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => {
        if (response.statusCode !== 200) refuse(`answered ${response.statusCode}`)
        else resolve(JSON.parse(text) as OperatorView)
      })
    })
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${patienceMs} ms`)))
    asked.on('error', (error: NodeJS.ErrnoException) => refuse(error.code ?? error.message))
    asked.end()
  })
}

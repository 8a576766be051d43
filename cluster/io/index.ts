/**
 * Understudy as a program sees it: a node whose sockets outlive it.
 *
 *     const node = await createNode('node.json')
 *     node.net.createServer((socket) => …).listen(80)
 */
import { dirname, resolve } from 'node:path'
import { checkNodeConfig, readNodeConfig } from './node-config.js'
import { openNode } from './open-node.js'
import { configOfProgram, say, serveAsProgram } from './program.js'
import type { NodeRuntime } from './runtime.js'

export * from '../../stack/index.js'
export * from '../index.js'
export { deriveKey, ensureKeyFile, readKeyFile } from './key-file.js'
export { MemoryCluster } from './memory-cluster.js'
export {
  type AppConfig,
  checkNodeConfig,
  type FenceMode,
  type NodeConfig,
  placeInConfig,
  readNodeConfig,
} from './node-config.js'
export { NODE_CONFIG_SCHEMA } from './node-config-schema.js'
export type { BindingStatus, ConnectionStatus, NodeStatus, TakeoverStatus } from './node-status.js'
export { openNode } from './open-node.js'
export { fetchView } from './operator-client.js'
export { type OperatorAddress, OperatorServer, type OperatorView } from './operator-server.js'
export { say, serveAsProgram } from './program.js'
export { NodeRuntime } from './runtime.js'

/**
 * Joins the cluster as one node. `config` is the path of a configuration file, or what such a file would contain. Without it the
 * program is the node: the file is that of `--config` on its command line, or of UNDERSTUDY_CONFIG; events are printed as JSON lines,
 * and SIGTERM, SIGINT and SIGUSR2 are obeyed as by `understudy node`.
 */
export async function createNode(
  config?: string | Readonly<Record<string, unknown>>,
): Promise<NodeRuntime> {
  if (config === undefined) {
    const own = readNodeConfig(configOfProgram(process.argv, process.env))
    const runtime = await openNode(own)
    runtime.on('report', say)
    // Behind what the program does with the node at once, which is to listen.
    setImmediate(() =>
      serveAsProgram(runtime, own.id, (error) => {
        throw error
      }),
    )
    return runtime
  }
  return openNode(
    typeof config === 'string'
      ? readNodeConfig(config)
      : checkNodeConfig(config, 'configuration', dirname(resolve('x'))),
  )
}

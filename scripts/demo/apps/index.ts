/** The demos of single applications, by name. */
import type { AppDemo } from '../stage.js'
import { kvDemo } from './kv.js'
import { nfsDemo } from './nfs.js'
import { proxyNfsDemo } from './proxy-nfs.js'
import { proxyNginxDemo } from './proxy-nginx.js'
import { proxyPostgresDemo } from './proxy-postgres.js'
import { proxyRedisDemo } from './proxy-redis.js'
import { proxySshDemo } from './proxy-ssh.js'
import { replayDemo } from './replay.js'
import { chatDemo, echoDemo, tickerDemo } from './small.js'
import { sqlDemo } from './sql.js'

const DEMOS: readonly AppDemo[] = [
  kvDemo,
  nfsDemo,
  sqlDemo,
  replayDemo,
  chatDemo,
  echoDemo,
  tickerDemo,
  proxyPostgresDemo,
  proxyRedisDemo,
  proxySshDemo,
  proxyNginxDemo,
  proxyNfsDemo,
]

export const APP_DEMOS: ReadonlyMap<string, AppDemo> = new Map(
  DEMOS.map((demo) => [demo.name, demo]),
)

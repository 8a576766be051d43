/** The applications that a lab's nodes can run. */

import type { LabRecord } from './lab-file.js'

/** Where each listens; the proxy where its server does. */
const APP_PORTS = {
  http: 80,
  chat: 80,
  echo: 7,
  kv: 6379,
  nfs: 2049,
  proxy: 0,
  sql: 5432,
  ticker: 13,
} as const

export const APP_NAMES: readonly string[] = Object.keys(APP_PORTS)

/** An application that a lab's nodes can run. */
export type AppName = keyof typeof APP_PORTS

export function isAppName(name: string): name is AppName {
  return Object.hasOwn(APP_PORTS, name)
}

/** The port of `app`; `to` is HOST:PORT of the server behind a proxy. */
export function portOf(app: AppName, to: string | undefined): number {
  return app === 'proxy' ? Number(to?.split(':')[1] ?? 0) : APP_PORTS[app]
}

/** The application of a node's configuration. */
export function appConfig(
  app: string,
  port: number,
  root: string,
  to: string | undefined,
): Record<string, unknown> {
  const name = { name: app, port }
  if (app === 'http' || app === 'nfs' || app === 'sql') return { ...name, root }
  return app === 'proxy' ? { ...name, to } : name
}

/** Where the app is, for a client: `http://10.77.0.100`, `http://[fd77::100]` or `10.77.0.100:7`. */
export function urlOf({ address, app, port }: Pick<LabRecord, 'address' | 'app' | 'port'>): string {
  const [text = ''] = address.split('/')
  const host = text.includes(':') ? `[${text}]` : text
  return app === 'http' || app === 'chat' ? `http://${host}` : `${host}:${port}`
}

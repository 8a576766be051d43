/** The applications that a lab's nodes can run. */

/** Where each listens. */
export const APP_PORTS = { http: 80, echo: 7, kv: 6379 } as const

/** An application that a lab's nodes can run. */
export type AppName = keyof typeof APP_PORTS

export function isAppName(name: string): name is AppName {
  return Object.hasOwn(APP_PORTS, name)
}

/**
 * Rehearsal of a control channel's end as the kernel of a dead node ends it: with a reset, as there was something that the node had not
 * read. When it happens in earnest clients wait, and the first error of a socket takes milliseconds of compiling. See also `../rehearsal.ts`.
 */
import { randomBytes } from 'node:crypto'
import { WsControl } from './ws-control.js'

const PATIENCE_MS = 1000

/** Plays it through on `host`, an address of this host, in some tens of milliseconds; false: it could not be played. */
export async function rehearseChannel(host: string): Promise<boolean> {
  const key = randomBytes(32)
  const up = signal()
  const down = signal()
  const channel = (id: number): WsControl =>
    new WsControl({
      id,
      cluster: 'rehearsal',
      key,
      host,
      port: 0,
      onUp: () => up.give(),
      onDown: () => down.give(),
      onMessage: () => {},
    })
  const [first, second] = [channel(1), channel(2)]
  try {
    const { port } = await second.listen()
    first.addPeer(2, host, port)
    if (!(await up.given)) return false
    // What is not read when a process ends makes its kernel send a reset.
    first.send(2, new Uint8Array(64))
    await second.close()
    return await down.given
  } finally {
    await first.close()
    await second.close()
  }
}

function signal(): { readonly given: Promise<boolean>; give(): void } {
  let give = (): void => {}
  const given = new Promise<boolean>((resolve) => {
    const timer = setTimeout(resolve, PATIENCE_MS, false)
    give = () => {
      clearTimeout(timer)
      resolve(true)
    }
  })
  return { given, give: () => give() }
}

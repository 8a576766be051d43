/** The demos of the small applications (A8). */
import { fileURLToPath } from 'node:url'
import type { AppDemo } from '../stage.js'

const CLIENT = fileURLToPath(new URL('./line-client.js', import.meta.url))

export const echoDemo: AppDemo = {
  name: 'echo',
  summary: 'numbered lines, each said when the one before has come back',
  whyNot: () => null,
  lab: () => ({ app: 'echo' }),
  async play(stage) {
    const argv = [process.execPath, CLIENT, 'echo', stage.address, '5000']
    return stage.act('5000 lines to echo', (turn) => turn.follow(stage.client(argv)))
  },
}

export const tickerDemo: AppDemo = {
  name: 'ticker',
  summary: 'a client that only listens, to a number each 200 ms',
  whyNot: () => null,
  lab: () => ({ app: 'ticker' }),
  async play(stage) {
    const argv = [process.execPath, CLIENT, 'ticker', stage.address, '20']
    return stage.act('20 numbers of the ticker', (turn) => turn.follow(stage.client(argv)))
  },
}

export const chatDemo: AppDemo = {
  name: 'chat',
  summary: 'two members of a room of WebSockets',
  whyNot: () => null,
  lab: () => ({ app: 'chat' }),
  async play(stage) {
    let room = 0
    return stage.act('2000 lines of a chat', (turn) => {
      // Its own room for each play, for the history is shown to who enters.
      const argv = [process.execPath, CLIENT, 'chat', stage.address, `room${++room}`, '2000']
      return turn.follow(stage.client(argv))
    })
  },
}

import t from 'tap'
import { rehearseChannel } from '../../../cluster/io/channel-rehearsal.js'

t.test('P9: a node plays the end of a control channel through before it joins', async (t) => {
  t.equal(await rehearseChannel('127.0.0.1'), true)
})

t.test('where it cannot listen, the error says so', async (t) => {
  await t.rejects(rehearseChannel('192.0.2.1'), { code: 'ERR_CONTROL_LISTEN' })
})

/** The rehearsal is a take-over: otherwise it would compile something else. */
import t from 'tap'
import { HmacAuthenticator } from '../../../cluster/io/authenticator.js'
import { rehearse } from '../../../cluster/rehearsal.js'
import { SystemRng } from '../../../stack/io/system-rng.js'

t.test('P1, P9: every connection of the rehearsal is taken over, and goes on', async (t) => {
  const result = rehearse(new HmacAuthenticator(new Uint8Array(32)), new SystemRng())
  t.strictSame(result, { promoted: 4, acknowledged: 32_768 })
})

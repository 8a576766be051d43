/**
 * A process that attaches to what another has snooped (P27), on real devices: the application commits nothing, and has read all input, so
 * that it is in no snapshot: the only one who has it but the owner is the folder of a standby that was killed.
 */
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { Lab, monotonicMs } from '../../scripts/lab/lab.js'
import { WireMonitor } from '../../scripts/lab/wire-monitor.js'
import { dialogue, gone, numbersLines, whyNoLab } from './support.js'

const PORT = 7

t.test(
  'P27: a process other than the one that snooped goes on from its mirror',
  { skip: await whyNoLab() },
  async (t) => {
    const lab = await Lab.create({ nodes: 2, app: 'echo', program: numbersLines(t, [PORT]) })
    try {
      const monitor = await WireMonitor.start(lab)
      await lab.startAll()
      const owner = await lab.awaitOwner()
      const standby = 3 - owner
      const talk = dialogue(t, lab, PORT)
      await talk.says('heard by the first process', 1)
      // The mirror is written behind.
      await delay(200)
      const snooped = lab.status().find(({ id }) => id === standby)?.pid
      await lab.kill(standby)
      await talk.says('heard by no standby', 2)

      const startedAt = monotonicMs()
      await lab.start(standby)
      const hasJoined = () =>
        lab.events.some((e) => e.node === standby && e.event === 'joined' && e.heardAt > startedAt)
      await lab.until(hasJoined, 10_000, `node ${standby} has not joined`)
      t.not(lab.status().find(({ id }) => id === standby)?.pid, snooped, 'another process')
      await talk.says('heard by the second process', 3)

      await lab.kill(owner)
      t.equal(await lab.awaitOwner(10_000), standby)
      await talk.says('answered by it', 4)
      const takeover = lab.events.findLast(({ event }) => event === 'takeover')
      t.match(takeover, { node: standby, promoted: 1, givenUp: {} })
      const { totals } = await monitor.count()
      t.match(totals, { syns: 1, resets: 0 }, 'one SYN, no RST')
      monitor.close()
    } finally {
      await lab.close()
    }
    t.ok(await gone(lab.id), 'nothing is left')
  },
)

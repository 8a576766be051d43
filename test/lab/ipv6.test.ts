/** IPv6 before a real kernel (T1): a download and an upload survive kills, and ping finds the address at its new owner. */

import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Lab } from '../../scripts/lab/lab.js'
import { WireMonitor } from '../../scripts/lab/wire-monitor.js'
import { curl, ended, gone, hashOf, randomFile, reach, whyNoLab } from './support.js'

const why = await whyNoLab()
const SIZE = 10 * 2 ** 20

for (const offload of [true, false]) {
  t.test(
    `T1 P13 A3: over IPv6, ${offload ? 'with' : 'without'} offload, two transfers outlive their owners`,
    { skip: why },
    async (t) => {
      const folder = fs.mkdtempSync(join(tmpdir(), 'understudy-ipv6-'))
      const lab = await Lab.create({ nodes: 3, app: 'http', ipv6: true, offload })
      t.teardown(async () => {
        await lab.close()
        fs.rmSync(folder, { recursive: true, force: true })
      })
      const counting = lab.startCounting()
      const monitor = await WireMonitor.start(lab, undefined, offload)
      await lab.startAll()
      const wanted = randomFile(join(lab.root, 'file'), SIZE)
      const ping = async (...args: string[]) => {
        const all = ['ping', '-6', '-c', '2', '-i', '0.2', '-W', '2', ...args, 'fd77::100']
        const { code, stdout, stderr } = await ended(lab.spawnInClient(all))
        t.equal(code, 0, stdout + stderr)
      }
      const pings = fs.existsSync('/bin/ping') || fs.existsSync('/usr/bin/ping')
      if (pings) await ping('-s', '4000')
      const copy = join(folder, 'copy')
      const down = curl(lab, '-g', '--limit-rate', '12M', '-o', copy, `${lab.url}/file`)
      await reach(monitor, 'down', SIZE / 3)
      await lab.kill(await lab.awaitOwner())
      t.match(await down, { code: 0, stderr: '' })
      t.equal(hashOf(copy), wanted)
      if (pings) await ping()
      const up = curl(lab, '-g', '--limit-rate', '12M', '-T', copy, `${lab.url}/other`)
      await reach(monitor, 'up', SIZE / 3)
      await lab.kill(await lab.awaitOwner())
      t.match(await up, { code: 0, stderr: '' })
      t.equal(hashOf(join(lab.root, 'other')), wanted)
      if (counting) t.match(lab.wireCounts(), { syns: 2, resetsIn: 0, resetsOut: 0 })
      await lab.close()
      t.ok(await gone(lab.id), 'nothing is left')
    },
  )
}

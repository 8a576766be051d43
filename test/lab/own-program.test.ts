/** A program of one's own as the nodes of a lab (A2): the one in README, as it stands there. */
import * as fs from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Lab } from '../../scripts/lab/lab.js'
import { switchOver } from '../../scripts/lab/switchover.js'
import { killOwner, whyNoLab } from './support.js'

// Below the package, so that it finds `understudy`.
const FOLDER = fileURLToPath(new URL('../..', import.meta.url))

t.test(
  'A2: the application of README survives in a lab, by kill and by hand-over',
  { skip: await whyNoLab() },
  async (t) => {
    const code = /```js\n([\s\S]*?)```/.exec(fs.readFileSync('README.md', 'utf8'))?.[1] ?? ''
    const folder = fs.mkdtempSync(join(FOLDER, 'own-program-'))
    t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))
    const file = join(folder, 'lines.mjs')
    fs.writeFileSync(file, code)
    const lab = await Lab.create({ nodes: 3, app: 'echo', program: [process.execPath, file] })
    t.teardown(() => lab.close())
    await lab.startAll()
    const [host] = lab.record.address.split('/')
    const client = lab.spawnInClient(['curl', '-sN', `telnet://${host}:7`], 0, 'pipe')
    t.teardown(() => client.kill())
    let heard = ''
    client.stdout?.on('data', (text) => {
      heard += text
    })
    const says = async (line: string, answer: string) => {
      client.stdin?.write(`${line}\n`)
      for (let i = 0; i < 400 && !heard.endsWith(answer); i++) await delay(10)
      t.ok(heard.endsWith(answer), JSON.stringify(heard))
    }
    await says('one', '1: one\n')
    const { to } = await killOwner(lab)
    await says('two', '2: two\n')
    await switchOver(lab, to)
    await says('three', '3: three\n')
    t.equal(heard, '1: one\n2: two\n3: three\n')
  },
)

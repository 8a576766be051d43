/** The chat in a real browser (A8): its WebSocket does not notice that the server dies. */
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type Page } from 'playwright-core'
import t from 'tap'
import { Lab } from '../../scripts/lab/lab.js'
import { labEnvironment } from '../../scripts/lab/space.js'
import { findBrowser } from './browser.js'
import { killOwner, whyNoLab } from './support.js'

const browserPath = findBrowser()
const noBrowser =
  browserPath === null ? 'no Chromium: apt-get install -y chromium brings it' : false
const why = (await whyNoLab()) || noBrowser
// Where to leave pictures of the page, for people to look at.
const SHOTS = process.env.UNDERSTUDY_SHOTS ?? ''

/** A script that starts the browser in the client's namespace, as it is the network that counts. */
function browserIn(lab: Lab, folder: string): string {
  const script = join(folder, 'browser.sh')
  const argv = lab.space.wrapIn(lab.record.clients[0]?.namespace ?? '', [browserPath ?? ''])
  const words = argv.map((word) => `'${word}'`).join(' ')
  fs.writeFileSync(script, `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 })
  return script
}

t.test(
  'A8: two browsers chat on while owners die, and none reconnects',
  { skip: why },
  async (t) => {
    const folder = fs.mkdtempSync(join(tmpdir(), 'understudy-chat-test-'))
    t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))
    const lab = await Lab.create({ nodes: 3, app: 'chat' })
    t.teardown(() => lab.close())
    await lab.startAll()
    const browser = await chromium.launch({
      executablePath: browserIn(lab, folder),
      args: ['--no-sandbox'],
      env: labEnvironment(lab.id) as Record<string, string>,
    })
    t.teardown(() => browser.close())
    const sockets: string[] = []
    const enter = async (name: string): Promise<Page> => {
      const page = await browser.newPage({ colorScheme: name === 'ann' ? 'light' : 'dark' })
      page.on('pageerror', (error) => t.fail(error.message))
      page.on('websocket', (socket) => {
        sockets.push(socket.url())
        socket.on('close', () => sockets.push('closed'))
      })
      await page.goto(`${lab.url}/?room=r&name=${name}`)
      await page.getByText('one connection').waitFor()
      return page
    }
    const ann = await enter('ann')
    const bob = await enter('bob')
    const say = async (page: Page, text: string): Promise<void> => {
      await page.getByLabel('what you say').fill(text)
      await page.keyboard.press('Enter')
      for (const each of [ann, bob]) await each.getByText(text, { exact: true }).waitFor()
    }
    await say(ann, 'hello bob')
    await say(bob, 'hello ann')
    for (let kills = 1; kills <= 2; kills++) {
      await killOwner(lab)
      await say(ann, `still here after ${kills}`)
      await say(bob, `me too, after ${kills}`)
      for (const page of [ann, bob])
        await page.getByText(`servers that it outlived: ${kills}`).waitFor()
    }
    t.equal(await ann.locator('#lines li:not(.moved)').count(), 6, 'each line once')
    t.same(await ann.locator('#lines').innerText(), await bob.locator('#lines').innerText())
    t.equal(sockets.length, 2, 'one WebSocket for each page')
    if (SHOTS !== '') {
      await ann.screenshot({ path: join(SHOTS, 'chat-light.png') })
      await bob.screenshot({ path: join(SHOTS, 'chat-dark.png') })
    }
  },
)

/** The live page in a real browser (O3): kills the owner during a download and sees the time line of the take-over. */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import t from 'tap'
import { Lab } from '../../scripts/lab/lab.js'
import { openLabPage } from '../../scripts/lab/lab-page.js'
import { findBrowser } from './browser.js'
import { whyNoLab } from './support.js'

const browserPath = findBrowser()
const noBrowser =
  browserPath === null ? 'no Chromium: apt-get install -y chromium brings it' : false
const why = (await whyNoLab()) || noBrowser
const SIZE = 16 * 2 ** 20

// Where to leave pictures of the page, for people to look at.
const SHOTS = process.env.UNDERSTUDY_SHOTS ?? ''

t.test('O3: the page kills an owner and tells how its peer took over', { skip: why }, async (t) => {
  const folder = fs.mkdtempSync(join(tmpdir(), 'understudy-page-test-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))
  const file = randomBytes(SIZE)
  fs.writeFileSync(join(folder, 'big.bin'), file)
  const lab = await Lab.create({ nodes: 3, app: 'http', root: folder })
  t.teardown(() => lab.close())
  await lab.startAll()
  const server = await openLabPage(lab)
  t.teardown(() => server.close())
  const browser = await chromium.launch({
    executablePath: browserPath ?? '',
    args: ['--no-sandbox'],
  })
  t.teardown(() => browser.close())
  const page = await browser.newPage()
  const faults: string[] = []
  page.on('pageerror', (error) => faults.push(error.message))
  page.on('console', (message) => {
    if (message.type() === 'error') faults.push(message.text())
  })
  await page.goto(server.url ?? '')
  const cards = page.getByRole('listitem').filter({ has: page.getByRole('heading') })
  await cards.nth(2).waitFor()
  await cards.nth(0).filter({ hasText: 'owner' }).waitFor()

  const copy = join(folder, 'copy.bin')
  const curl = lab.spawnInClient([
    'curl',
    '-s',
    '--limit-rate',
    '4M',
    '-o',
    copy,
    `${lab.url}/big.bin`,
  ])
  const ended = new Promise((resolve) => curl.once('close', resolve))
  const connections = page.getByRole('region', { name: 'Connections' }).locator('tbody tr')
  await connections.filter({ hasText: '1: owned' }).waitFor()
  await connections.filter({ hasText: '2: ready' }).waitFor()
  // By the keyboard, as somebody without a mouse would.
  await page.getByRole('button', { name: 'Kill node 1' }).focus()
  await page.keyboard.press('Enter')
  await cards.nth(0).filter({ hasText: 'dead' }).waitFor()
  await cards.nth(1).filter({ hasText: 'owner' }).waitFor()
  await page.getByText('Node 2 took over from node 1').waitFor()
  await page
    .getByRole('region', { name: 'Last take-over' })
    .or(page.locator('#timeline'))
    .first()
    .waitFor()
  const steps = await page.locator('#timeline dd').allTextContents()
  t.equal(steps.length, 4)
  for (const step of steps) t.match(step, /^\d+\.\d ms$/)
  t.ok(await page.getByRole('button', { name: 'Start node 1' }).isEnabled())
  t.equal(await ended, 0, 'curl does not notice')
  t.ok(fs.readFileSync(copy).equals(file))

  await page.getByRole('button', { name: 'Hand over node 2' }).click()
  await cards.nth(2).filter({ hasText: 'owner' }).waitFor()
  t.match(lab.events.findLast(({ event }) => event === 'takeover') ?? {}, { from: 2, to: 3 })

  // Nothing is wider than the window, in either scheme, and each scheme has a ground of its own.
  const grounds = new Set<string>()
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    for (const width of [360, 1280]) {
      await page.setViewportSize({ width, height: 800 })
      // A text, as there is no `document` here to write a function about.
      const [inner, ground] = (await page.evaluate(
        '[document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]',
      )) as [number, string]
      t.ok(inner <= width, `${colorScheme}, ${width} wide: ${inner}`)
      grounds.add(ground)
      if (SHOTS !== '') {
        await page.screenshot({ path: join(SHOTS, `${colorScheme}-${width}.png`), fullPage: true })
      }
    }
  }
  t.equal(grounds.size, 2)
  t.same(faults, [], 'no error in the browser')
})

t.test(
  'O3: `understudy status`, `switchover` and `explain` ask a node of a lab',
  { skip: await whyNoLab() },
  async (t) => {
    const lab = await Lab.create({ nodes: 2, app: 'echo' })
    t.teardown(() => lab.close())
    await lab.startAll()
    const program = new URL('../../scripts/understudy.js', import.meta.url).pathname
    const run = (...args: string[]) =>
      spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' })
    const status = (...args: string[]) => run('status', ...args)
    const config = join(lab.record.folder, 'node1.json')
    t.match(status('--config', config), {
      status: 0,
      stdout: /node 1 of cluster lab-.*owner, term 1/s,
    })
    const json = JSON.parse(status('--at', lab.operatorSocket(2), '--json').stdout)
    t.match(json.nodes, [{ id: 2, bindings: [{ state: 'standby', owner: 1 }] }])
    t.match(status('--at', '127.0.0.1:1'), { status: 1, stderr: /ERR_OPERATOR_UNREACHABLE/ })
    t.match(status(), { status: 2, stderr: /say which node/ })
    const moved = { from: 1, moved: [{ binding: 1, to: 2, connections: 0 }] }
    const handed = run('switchover', '--config', config, '--json')
    t.match(handed, { status: 0 }, handed.stderr)
    t.same(JSON.parse(handed.stdout), moved)
    t.match(run('switchover', '--config', config), {
      status: 1,
      stderr: /owns nothing.*ERR_SWITCHOVER/,
    })
    t.match(run('explain', '--at', lab.operatorSocket(2)), {
      status: 0,
      stdout:
        /node 2 took binding 1 over from node 1, in term 2.*handed the address over on command/s,
    })
    t.match(run('explain', lab.status()[1]?.log ?? ''), { status: 0 })
    const drained = run('drain', '--at', lab.operatorSocket(2), '--json')
    t.match(drained, { status: 0 }, drained.stderr)
    t.same(JSON.parse(drained.stdout), {
      from: 2,
      moved: [{ binding: 1, to: 1, connections: 0 }],
      ended: true,
    })
    t.match(run('explain', '/no/such/log'), { status: 1, stderr: /ERR_LOG_FILE/ })
  },
)

/**
 * The database on a real bridge (A5): psql and pgbench, unmodified, while owners die. What survives is equal to an undisturbed run, what is
 * written is written once, and what is lost is said to be.
 */
import { type ChildProcess, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { prepareData } from '../../apps/sql/prepare.js'
import { Lab } from '../../scripts/lab/lab.js'
import { WireMonitor } from '../../scripts/lab/wire-monitor.js'
import { type Ended, ended, killOwner, orStall, reach, whyNoLab } from './support.js'

const INSTALLED = '/usr/lib/postgresql'
const noPsql =
  spawnSync('psql', ['--version']).status === 0 ? false : 'postgresql-client is not installed'
const why = (await whyNoLab()) || noPsql
const pgbench = fs.existsSync(INSTALLED)
  ? fs
      .readdirSync(INSTALLED)
      .map((version) => join(INSTALLED, version, 'bin', 'pgbench'))
      .find((path) => fs.existsSync(path))
  : undefined
const whyNoBench = why || (pgbench === undefined ? 'pgbench is not installed' : false)

// On a busy machine, and with the data directory to be made.
t.setTimeout(600_000)

// To make a data directory takes longer than any of the tests: it is made once, and copied.
const folder = fs.mkdtempSync(join(tmpdir(), 'understudy-sql-'))
t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))
const made = join(folder, 'made')
if (why === false) await prepareData(made)

async function inLab(t: Test, name: string, nodes: number): Promise<Lab> {
  const root = join(folder, name)
  fs.cpSync(made, root, { recursive: true })
  const lab = await Lab.create({ nodes, app: 'sql', root })
  t.teardown(() => lab.close())
  await lab.startAll()
  return lab
}

function psql(lab: Lab, ...args: string[]): ChildProcess {
  const [host = ''] = lab.record.address.split('/')
  const common = ['-X', '-q', '-At', '-U', 'postgres', '-h', host]
  return lab.spawnInClient(['psql', ...common, ...args], 0, args.length === 0 ? 'pipe' : 'ignore')
}

function ask(lab: Lab, sql: string): Promise<Ended> {
  return ended(psql(lab, '-c', sql))
}

async function answer(lab: Lab, sql: string): Promise<string> {
  const { code, stdout, stderr } = await ask(lab, sql)
  if (code !== 0) throw new Error(stderr)
  return stdout.trim()
}

function noNewConnections(t: Test, lab: Lab, counting: boolean, connections: number): void {
  if (!counting) return
  const wanted = { syns: connections, resetsIn: 0, resetsOut: 0 }
  t.match(lab.wireCounts(), wanted, 'no connection was opened again')
}

t.test('A5: a long SELECT goes on over three deaths, octet by octet', { skip: why }, async (t) => {
  const lab = await inLab(t, 'select', 4)
  const query = "select i, md5(i::text), repeat('x', 30) from generate_series(1, 200000) i"
  const undisturbed = await ask(lab, query)
  const counting = lab.startCounting()
  const monitor = await WireMonitor.start(lab)
  t.teardown(() => monitor.close())
  const client = ask(lab, query)
  for (let kills = 1; kills <= 3; kills++) {
    await reach(monitor, 'down', (kills * undisturbed.stdout.length) / 4)
    await killOwner(lab)
  }
  const { code, stdout, stderr } = await client
  t.equal(code, 0, stderr)
  const hash = (text: string): string => createHash('sha256').update(text).digest('hex')
  t.equal(stdout.length, undisturbed.stdout.length)
  t.equal(hash(stdout), hash(undisturbed.stdout))
  noNewConnections(t, lab, counting, 1)
})

t.test('A5: each insert is done once, and what was answered is there', { skip: why }, async (t) => {
  const lab = await inLab(t, 'insert', 3)
  await answer(lab, 'create table n(i int)')
  const counting = lab.startCounting()
  const client = psql(lab)
  const end = ended(client)
  let count = 0
  let stopped = false
  let lines = 0
  client.stdout?.on('data', (chunk: Buffer) => {
    lines += chunk.toString().split('\n').length - 1
  })
  const feeding = (async () => {
    while (!stopped) {
      // A new owner is slow at first.
      if (count - lines < 10)
        client.stdin?.write(`insert into n values (${++count}) returning i;\n`)
      await delay(2)
    }
    client.stdin?.end()
  })()
  for (let kills = 0; kills < 2; kills++) {
    await delay(1000)
    await killOwner(lab)
  }
  await delay(1000)
  stopped = true
  await feeding
  const { code, stdout, stderr } = await orStall(lab, end, () => lines)
  t.equal(code, 0, stderr)
  t.equal(stderr, '')
  t.equal(stdout, Array.from({ length: count }, (_, i) => `${i + 1}\n`).join(''))
  t.equal(
    await answer(lab, 'select count(*), count(distinct i), max(i) from n'),
    `${count}|${count}|${count}`,
  )
  noNewConnections(t, lab, counting, 2)
})

t.test('A5: pgbench with four clients goes on over a death', { skip: whyNoBench }, async (t) => {
  const lab = await inLab(t, 'bench', 3)
  const [host = ''] = lab.record.address.split('/')
  const bench = (...args: string[]) =>
    ended(lab.spawnInClient([pgbench ?? '', '-h', host, '-U', 'postgres', ...args, 'postgres']))
  const filled = await bench('-i', '-q')
  t.equal(filled.code, 0, filled.stderr)
  const counting = lab.startCounting()
  const select = bench('-n', '-S', '-c', '4', '-T', '4')
  await delay(1500)
  await killOwner(lab)
  t.match(await select, { code: 0, stdout: /failed transactions: 0/ }, 'select only')
  // Transactions are lost with their owner: pgbench begins them again, as the code tells it to.
  const update = bench('-n', '-N', '-c', '4', '-T', '4', '--max-tries=5')
  await delay(1500)
  await killOwner(lab)
  const { code, stdout, stderr } = await update
  t.equal(code, 0, stderr)
  t.match(stdout, /failed transactions: 0/)
  noNewConnections(t, lab, counting, 10)
  const done = Number(/actually processed: (\d+)/.exec(stdout)?.[1])
  t.equal(Number(await answer(lab, 'select count(*) from pgbench_history')), done)
  t.equal(
    await answer(
      lab,
      'select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)',
    ),
    't',
  )
})

async function garbage(t: Test, lab: Lab): Promise<void> {
  const [host = ''] = lab.record.address.split('/')
  const script = `
    import { connect } from 'node:net'
    import { randomBytes } from 'node:crypto'
    const startup = Buffer.concat([Buffer.from([0, 0, 0, 23, 0, 3, 0, 0]), Buffer.from('user\\0postgres\\0\\0')])
    const odd = [Buffer.from('GET / HTTP/1.1\\r\\n\\r\\n'), Buffer.alloc(0), Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]), randomBytes(64)]
    for (let i = 0; i < 30; i++) odd.push(Buffer.concat([startup, Buffer.from('QPBDECSHFdcfpX'[i % 14]), Buffer.from([0, 0, 0, 4 + i]), randomBytes(i % 2 ? i : i + 40)]))
    await Promise.all(odd.map((octets) => new Promise((resolve) => {
      const socket = connect(5432, process.argv[1], () => socket.end(octets))
      socket.on('error', resolve).on('close', resolve).resume()
      setTimeout(() => socket.destroy(), 3000)
    })))
  `
  const argv = [process.execPath, '--input-type=module', '-e', script, host]
  t.match(await ended(lab.spawnInClient(argv)), { code: 0 })
  t.equal(await answer(lab, 'select 42'), '42')
  t.same(
    lab.events.filter(({ event }) => event === 'app-error' || event === 'error'),
    [],
  )
}

async function openTransaction(t: Test, lab: Lab): Promise<void> {
  await answer(lab, 'create table n(i int)')
  const client = psql(lab)
  let said = ''
  client.stdout?.on('data', (chunk) => {
    said += chunk
  })
  const end = ended(client)
  const tell = async (sql: string, wanted: string): Promise<void> => {
    client.stdin?.write(`${sql}\n`)
    for (let i = 0; !said.endsWith(wanted) && i < 3000; i++) await delay(10)
    t.ok(said.endsWith(wanted), sql)
  }
  await tell("set timezone = 'Europe/Berlin'; prepare p as select 'prepared'; select 1;", '1\n')
  await tell("begin; insert into n values (1) returning 'open';", 'open\n')
  const { from } = await killOwner(lab)
  client.stdin?.write('insert into n values (2);\nselect 3;\n')
  await tell("rollback; select 'back';", 'back\n')
  await tell('show timezone;', 'Europe/Berlin\n')
  await tell('execute p;', 'prepared\n')
  await tell('select count(*) from n;', '0\n')
  client.stdin?.end()
  const { code, stderr } = await end
  t.equal(code, 0)
  t.match(
    stderr,
    /ERROR: {2}the transaction is lost[\s\S]*ERROR: {2}current transaction is aborted/,
  )
  await startAgain(lab, from)
}

async function stoppedOwner(t: Test, lab: Lab): Promise<void> {
  await answer(lab, 'create table m(i int); insert into m values (1)')
  const stopped = await lab.awaitOwner()
  lab.stop(stopped)
  await lab.awaitOwner(20_000)
  t.equal(await answer(lab, 'insert into m values (2) returning (select count(*) from m)'), '1')
  const state = lab.status().find(({ id }) => id === stopped)?.state
  t.equal(state, 'ended', 'its process was killed before the data were opened')
}

// What is done to it is what a busy machine does: it does not run for longer than its lease, and again before the database can be open.
async function shortOfBreath(t: Test, lab: Lab): Promise<void> {
  await answer(lab, 'create table l(i int)')
  const owner = await lab.awaitOwner()
  const other = lab.record.nodes.map(({ id }) => id).find((id) => id !== owner) ?? 0
  await lab.kill(owner)
  await lab.awaitOwner(10_000)
  let asked = true
  const client = ask(lab, 'insert into l values (1) returning i').finally(() => {
    asked = false
  })
  const stopping = (async () => {
    while (asked) {
      lab.stop(other)
      await delay(200)
      lab.continue(other)
      await delay(700)
    }
  })()
  const { code, stdout, stderr } = await orStall(lab, client, () => 0)
  await stopping
  t.same({ code, stdout, stderr }, { code: 0, stdout: '1\n', stderr: '' })
  t.equal(await answer(lab, 'select count(*) from l'), '1')
  await startAgain(lab, owner)
}

async function startAgain(lab: Lab, id: number): Promise<void> {
  const since = lab.events.length
  await lab.start(id)
  const joined = () =>
    lab.events.slice(since).some(({ node, event }) => node === id && event === 'joined')
  await lab.until(joined, 30_000, 'the killed node takes no part')
}

// One after the other in one lab: each leaves it as it was, with two nodes that run.
t.test('A5: what goes wrong stays where it is', { skip: why }, async (t) => {
  const lab = await inLab(t, 'wrong', 2)
  await t.test('A5: garbage ends its own connection and nothing else', (t) => garbage(t, lab))
  await t.test('A5: an open transaction is lost and said to be, and the session goes on', (t) =>
    openTransaction(t, lab),
  )
  await t.test('A5 D3: an owner that loses its lease again and again comes to answer', (t) =>
    shortOfBreath(t, lab),
  )
  await t.test('A5: an owner that was stopped never writes again', (t) => stoppedOwner(t, lab))
})

/** A node that starts while another writes takes nothing from it (P27, A2): see store-gate.ts for what LMDB does otherwise. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { StoreGate } from '../../../../cluster/io/store-gate.js'

const PROGRAM = fileURLToPath(new URL('./store-opener.js', import.meta.url))

/** Lets a process take its time between reading where LMDB's file ends and saying so, as a busy machine does. */
const SLOW = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>
#define SLOW(name) void *name(void *at, size_t length, int a, int b, int fd, off_t offset) { \\
  void *(*real)(void *, size_t, int, int, int, off_t) = dlsym(RTLD_NEXT, #name); \\
  if (length >= 1ul << 30 && fd >= 0) usleep(50000); \\
  return real(at, length, a, b, fd, offset); }
SLOW(mmap)
SLOW(mmap64)
`

function folderFor(t: Test): string {
  const folder = fs.mkdtempSync(join(tmpdir(), 'understudy-gate-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))
  return folder
}

t.test('A2: nothing is lost to processes that open the store', async (t) => {
  const folder = folderFor(t)
  const source = join(folder, 'slow.c')
  const library = join(folder, 'slow.so')
  fs.writeFileSync(source, SLOW)
  const built = spawnSync('cc', ['-shared', '-fPIC', '-o', library, source, '-ldl'])
  t.equal(built.status, 0, String(built.stderr))
  const path = join(folder, 'store')
  const counter = spawn(process.execPath, [PROGRAM, 'count', path, '6000'])
  let said = ''
  counter.stdout.on('data', (chunk) => {
    said += chunk
  })
  const ended = once(counter, 'close')
  while (!said.includes('ready') && counter.exitCode === null) await delay(10)
  for (let i = 0; i < 4 && counter.exitCode === null && counter.signalCode === null; i++) {
    const env = { ...process.env, LD_PRELOAD: library }
    const opener = spawn(process.execPath, [PROGRAM, 'open', path], { env, stdio: 'ignore' })
    await once(opener, 'exit')
  }
  t.same(await ended, [0, null], 'the writer lives')
  const { counted, lost } = JSON.parse(said.split('\n')[1] ?? '{}')
  t.ok(counted > 100, `${counted} transactions`)
  t.equal(lost, 0)
})

t.test('who was stopped while it opened is ended by those who wait', async (t) => {
  const path = folderFor(t)
  const script = `
    import { StoreGate } from ${JSON.stringify(new URL('../../../../cluster/io/store-gate.js', import.meta.url).href)}
    new StoreGate(${JSON.stringify(path)}).opening(() => {
      process.stdout.write('open')
      process.kill(process.pid, 'SIGSTOP')
    })
  `
  const opener = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(opener, 'exit')
  await once(opener.stdout, 'data')
  const gate = new StoreGate(path)
  t.equal(
    gate.writing(() => gate.writing(() => 'written')),
    'written',
  )
  t.same(await ended, [null, 'SIGKILL'])
  t.equal(
    gate.opening(() => 'opened'),
    'opened',
    'the gate is free again',
  )
  gate.close()
})

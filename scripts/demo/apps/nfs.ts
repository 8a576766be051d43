/** The demo of the NFS server (A6) with the tools of libnfs. */
import { createHash, randomFillSync } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { type AppDemo, isInstalled, type Stage, type Turn } from '../stage.js'

const SIZE = 256 * 1024 * 1024
/** How often the size of what arrives is looked at. */
const LOOK_MS = 2

export const nfsDemo: AppDemo = {
  name: 'nfs',
  summary: 'copies from and to the NFS server by libnfs: NFSv4 down, NFSv3 up',
  whyNot: () =>
    isInstalled('nfs-cp', [])
      ? null
      : 'there is no client of NFS: install the Debian package libnfs-utils',
  lab: (scratch) => ({ app: 'nfs', root: servedBy(scratch) }),
  async play(stage) {
    const large = join(servedBy(stage.scratch), 'large')
    fs.writeFileSync(large, randomFillSync(Buffer.alloc(SIZE)))
    const down = await stage.act('nfs-cat of 256 MiB over NFSv4', (turn) =>
      turn.follow(stage.client(['nfs-cat', url(stage, 'large', '&version=4')])),
    )
    const up = await stage.act('nfs-cp of 256 MiB to it over NFSv3', (turn) =>
      upload(stage, turn, large),
    )
    return [...down, ...up]
  },
}

function servedBy(scratch: string): string {
  const folder = join(scratch, 'served')
  fs.mkdirSync(folder, { recursive: true })
  return folder
}

function url(stage: Stage, name: string, more = ''): string {
  return `nfs://${stage.address}//${name}?nfsport=2049&mountport=2049${more}`
}

async function upload(stage: Stage, turn: Turn, source: string) {
  const arrived = join(servedBy(stage.scratch), 'arrived')
  fs.rmSync(arrived, { force: true })
  const size = (): number => fs.statSync(arrived, { throwIfNoEntry: false })?.size ?? 0
  const client = stage.client(['nfs-cp', source, url(stage, 'arrived')])
  let over = false
  const done = client.ended().finally(() => {
    over = true
  })
  const reaches = async (octets: number): Promise<void> => {
    while (size() < octets && !over) await stage.pause(LOOK_MS)
  }
  for (let i = 1; turn.calm !== null && i <= stage.kills; i++) {
    await reaches((SIZE * i) / (stage.kills + 1))
    await turn.kill(() => reaches(Math.min(size() + 1, SIZE)))
  }
  await done
  await client.succeeded()
  const digest = createHash('sha256').update(fs.readFileSync(arrived)).digest('hex')
  return { digest, octets: size() }
}

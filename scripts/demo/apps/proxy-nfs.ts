/** The demo of the proxy with an unmodified nfs-ganesha and the clients of libnfs (A6, A7, S1). */
import { randomFillSync } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { type AppDemo, isInstalled, SERVER } from '../stage.js'

const PORT = '2049'
const SIZE = 96 * 1024 * 1024
const GANESHA = '/usr/bin/ganesha.nfsd'

export const proxyNfsDemo: AppDemo = {
  name: 'proxy-nfs',
  summary: 'an unmodified nfs-ganesha behind the proxy: a copy over NFSv4 by libnfs',
  whyNot() {
    if (process.getuid?.() !== 0) return 'nfs-ganesha is to open files by handle: start as root'
    if (fs.existsSync(GANESHA) && isInstalled('nfs-cat', [])) return null
    return 'there is no NFS server: install the Debian packages nfs-ganesha, nfs-ganesha-vfs and libnfs-utils'
  },
  lab: () => ({ app: 'proxy', to: `${SERVER}:${PORT}` }),
  async prepare(stage) {
    const folder = join(stage.scratch, 'nfs')
    const served = join(folder, 'export')
    fs.mkdirSync(served, { recursive: true })
    fs.writeFileSync(join(served, 'large'), randomFillSync(Buffer.alloc(SIZE)))
    const config = join(folder, 'ganesha.conf')
    fs.writeFileSync(config, configuration(folder, served))
    const log = join(folder, 'log')
    const argv = [GANESHA, '-F', '-f', config, '-L', log, '-p', join(folder, 'pid')]
    await stage.serve(argv, ['nfs-ls', url(SERVER, '/x')])
  },
  async play(stage) {
    const copy = await stage.act('nfs-cat of 96 MiB over NFSv4', (turn) =>
      turn.follow(stage.client(['nfs-cat', url(stage.address, '/x/large')])),
    )
    return copy
  },
}

function url(host: string, path: string): string {
  return `nfs://${host}${path}?version=4&nfsport=${PORT}`
}

function configuration(folder: string, served: string): string {
  return `NFS_Core_Param { Protocols = 4; NFS_Port = ${PORT}; Bind_addr = ${SERVER}; Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false; }
NFSv4 { Graceless = true; RecoveryBackend = fs; RecoveryRoot = ${folder}/recovery; }
EXPORT_DEFAULTS { Access_Type = RW; Squash = None; SecType = none, sys; }
EXPORT { Export_Id = 1; Path = ${served}; Pseudo = /x; FSAL { Name = VFS; } }
LOG { Default_Log_Level = WARN; }
`
}

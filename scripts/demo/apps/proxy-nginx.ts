/** The demo of the proxy with an unmodified nginx and TLS (A7). */
import { spawnSync } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { StackError } from '../../../stack/base/errors.js'
import { type AppDemo, isInstalled, SERVER } from '../stage.js'

const PORT = '8443'
const SIZE = 48 * 1024 * 1024
const CURL = [
  'curl',
  '--disable',
  '--silent',
  '--show-error',
  '--fail',
  '--insecure',
  '--noproxy',
  '*',
]

export const proxyNginxDemo: AppDemo = {
  name: 'proxy-nginx',
  summary: 'an unmodified nginx with TLS behind the proxy: a download by curl',
  whyNot: () =>
    isInstalled('nginx', ['-v']) && isInstalled('openssl', ['version'])
      ? null
      : 'there is no nginx: install the Debian packages nginx and openssl',
  lab: () => ({ app: 'proxy', to: `${SERVER}:${PORT}` }),
  async prepare(stage) {
    const folder = join(stage.scratch, 'nginx')
    fs.mkdirSync(join(folder, 'www'), { recursive: true })
    fs.chmodSync(stage.scratch, 0o755)
    const large = join(folder, 'www', 'large')
    fs.writeFileSync(large, randomFillSync(Buffer.alloc(SIZE)))
    certify(folder)
    const config = join(folder, 'nginx.conf')
    fs.writeFileSync(config, configuration(folder))
    const probe = [
      ...CURL,
      '--output',
      '/dev/null',
      '--range',
      '0-9',
      `https://${SERVER}:${PORT}/large`,
    ]
    await stage.serve(['nginx', '-p', folder, '-c', config, '-e', 'stderr'], probe)
  },
  async play(stage) {
    const url = `https://${stage.address}:${PORT}/large`
    const download = await stage.act('curl https, 48 MiB', (turn) =>
      turn.follow(stage.client([...CURL, '--limit-rate', '30M', url])),
    )
    return download
  },
}

function certify(folder: string): void {
  const files = ['-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem')]
  const kind = [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-subj',
    '/CN=understudy',
  ]
  const made = spawnSync('openssl', ['req', '-x509', '-nodes', ...kind, ...files], {
    encoding: 'utf8',
  })
  if (made.status !== 0)
    throw new StackError('ERR_DEMO_NO_SERVER', `openssl failed: ${made.stderr}`)
}

function configuration(folder: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${folder}/${name};`)
    .join(' ')
  return `daemon off; worker_processes 1; pid ${folder}/pid; error_log stderr;
events {}
http {
  access_log off; ${temporary}
  server {
    listen ${SERVER}:${PORT} ssl;
    ssl_certificate ${folder}/cert.pem; ssl_certificate_key ${folder}/key.pem;
    root ${folder}/www;
  }
}
`
}

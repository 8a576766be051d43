import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { HmacAuthenticator } from '../../../../cluster/io/authenticator.js'
import { deriveKey, ensureKeyFile, readKeyFile } from '../../../../cluster/io/key-file.js'

t.test('a key file is made once, private, and read again', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-key-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'sub', 'key')
  t.throws(() => readKeyFile(path), { code: 'ERR_KEY_MISSING', message: path })
  const key = ensureKeyFile(path)
  t.equal(key.length, 32)
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.same(readKeyFile(path), key)
  t.same(ensureKeyFile(path), key)
  chmodSync(path, 0o640)
  t.throws(() => ensureKeyFile(path), { code: 'ERR_KEY_EXPOSED', message: 'chmod 600' })
  chmodSync(path, 0o600)
  writeFileSync(path, 'abc')
  t.throws(() => readKeyFile(path), { code: 'ERR_KEY_FORMAT' })
})

t.test('each purpose has a key of its own', async (t) => {
  const key = Buffer.alloc(32, 5)
  const keys = (['declaration', 'control', 'heartbeat', 'isn'] as const).map((purpose) =>
    Buffer.from(deriveKey(key, purpose)).toString('hex'),
  )
  t.same(
    keys.map((hex) => hex.length / 2),
    [32, 32, 16, 16],
  )
  t.equal(new Set(keys.map((hex) => hex.slice(0, 32))).size, 4)
  t.same(deriveKey(key, 'isn'), deriveKey(Uint8Array.from(key), 'isn'))
  t.throws(() => deriveKey(key.subarray(1), 'isn'), { code: 'ERR_KEY_LENGTH' })
})

t.test('HMAC-SHA256-128: RFC 4231 case 2, and no octet may differ', async (t) => {
  // RFC 4231 §4.3 has a key of four octets, shorter than is allowed here; trailing zeros are the same key to HMAC.
  const key = Buffer.alloc(16)
  key.write('Jefe')
  const authenticator = new HmacAuthenticator(key)
  const message = Buffer.from('what do ya want for nothing?')
  const tagged = Buffer.alloc(message.length + 16)
  tagged.set(message)
  authenticator.sign(tagged.subarray(0, message.length), tagged, message.length)
  const tag = tagged.subarray(message.length)
  t.equal(tag.toString('hex'), '5bdcc146bf60754e6a042426089575c7')
  t.equal(authenticator.verify(message, tag), true)
  for (let at = 0; at < 16; at++) {
    const wrong = Buffer.from(tag)
    wrong[at]! ^= 1
    t.equal(authenticator.verify(message, wrong), false)
  }
  t.equal(authenticator.verify(message, tag.subarray(0, 15)), false)
  t.equal(authenticator.verify(message.subarray(1), tag), false)
  t.throws(() => new HmacAuthenticator(Buffer.alloc(15)), { code: 'ERR_KEY_LENGTH' })
})

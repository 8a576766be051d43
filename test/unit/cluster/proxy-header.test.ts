/** The header of the PROXY protocol, octet by octet: examples of its specification, and its sizes. */
import t from 'tap'
import { proxyHeader } from '../../../cluster/index.js'
import { parseIpAddress } from '../../../stack/index.js'

const ENDS4 = {
  localAddress: parseIpAddress('192.168.0.11'),
  localPort: 443,
  remoteAddress: parseIpAddress('192.168.0.1'),
  remotePort: 56_324,
}
const ENDS6 = {
  ...ENDS4,
  localAddress: parseIpAddress('fd00::64'),
  remoteAddress: parseIpAddress('2001:db8::7'),
}

t.test('A7: version 1 is a line', async (t) => {
  const text = (ends: typeof ENDS4) => Buffer.from(proxyHeader('v1', ends)).toString('latin1')
  t.equal(text(ENDS4), 'PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n')
  t.equal(text(ENDS6), 'PROXY TCP6 2001:db8::7 fd00::64 56324 443\r\n')
})

t.test('A7: version 2 is in octets', async (t) => {
  const octets = (ends: typeof ENDS4) => Buffer.from(proxyHeader('v2', ends)).toString('hex')
  const signature = '0d0a0d0a000d0a515549540a'
  const ports = 'dc0401bb'
  t.equal(octets(ENDS4), `${signature}2111000cc0a80001c0a8000b${ports}`)
  const addresses = `20010db8${'0'.repeat(22)}07fd${'0'.repeat(28)}64`
  t.equal(octets(ENDS6), `${signature}21210024${addresses}${ports}`)
})

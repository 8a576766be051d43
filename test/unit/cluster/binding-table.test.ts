/** P2, P25: which binding a local endpoint belongs to. */
import t from 'tap'
import { BindingTable, parseBinding } from '../../../cluster/index.js'
import { parseIpv4Address } from '../../../stack/index.js'

t.test('P2: an endpoint outside of all bindings belongs to none', (t) => {
  const table = new BindingTable<string>()
  table.add(parseBinding(1, '10.0.0.100/24', '80'), 'web')
  table.add(parseBinding(2, '10.0.0.100/24', '81-90'), 'rest')
  table.add(parseBinding(3, '10.0.0.101/24'), 'all')
  const at = (address: string, port: number) => table.find(parseIpv4Address(address), port)
  t.equal(at('10.0.0.100', 80), 'web')
  t.equal(at('10.0.0.100', 81), 'rest', 'P25: one address is shared by ranges of ports')
  t.equal(at('10.0.0.100', 90), 'rest')
  t.equal(at('10.0.0.100', 91), undefined)
  t.equal(at('10.0.0.101', 91), 'all')
  t.equal(at('10.0.0.102', 80), undefined)
  t.equal(table.has(parseIpv4Address('10.0.0.102')), false)
  t.end()
})

t.test('P25: a port belongs to one binding only', (t) => {
  const table = new BindingTable<string>()
  table.add(parseBinding(1, '10.0.0.100/24', '80-90'), 'a')
  t.throws(() => table.add(parseBinding(2, '10.0.0.100/24', '90-99'), 'b'), {
    code: 'ERR_BINDING_OVERLAP',
    message: /90-99 and 80-90/,
  })
  t.end()
})

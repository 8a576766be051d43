import t from 'tap'
import { MAX_ROUTES, NO_ROUTE, RouteTable } from '../../../stack/net/route.js'
import { type Ipv4Address, parseIpv4Address as ip } from '../../../stack/wire/ipv4.js'

t.test('neighbours directly, everybody else by the gateway', async (t) => {
  const routes = new RouteTable()
  t.equal(routes.nextHop(ip('10.77.0.9')), NO_ROUTE)
  routes.addOnLink(ip('10.77.0.1'), 24)
  t.equal(routes.nextHop(ip('10.77.0.9')), ip('10.77.0.9'))
  t.equal(routes.nextHop(ip('10.77.1.9')), NO_ROUTE)
  routes.addGateway(ip('10.77.0.254'))
  t.equal(routes.nextHop(ip('10.77.1.9')), ip('10.77.0.254'))
  t.equal(routes.nextHop(ip('10.77.0.9')), ip('10.77.0.9'))
})

t.test('the longest prefix wins, in whatever order routes were added', async (t) => {
  const routes = new RouteTable()
  routes.addOnLink(ip('10.77.0.1'), 24)
  routes.addGateway(ip('10.77.0.254'))
  routes.addGateway(ip('10.77.0.253'), ip('192.168.0.0'), 16)
  routes.addGateway(ip('10.77.0.252'), ip('192.168.7.0'), 24)
  t.equal(routes.nextHop(ip('192.168.7.1')), ip('10.77.0.252'))
  t.equal(routes.nextHop(ip('192.168.8.1')), ip('10.77.0.253'))
  t.equal(routes.nextHop(ip('8.8.8.8')), ip('10.77.0.254'))
  routes.remove(ip('192.168.7.0'), 24)
  t.equal(routes.nextHop(ip('192.168.7.1')), ip('10.77.0.253'))
})

t.test(
  'two addresses of one prefix: when one goes, the neighbours of the other stay',
  async (t) => {
    const routes = new RouteTable()
    routes.addOnLink(ip('10.77.0.100'), 24)
    routes.addOnLink(ip('10.77.0.101'), 24)
    routes.remove(ip('10.77.0.100'), 24)
    routes.remove(ip('10.77.0.100'), 24)
    t.equal(routes.nextHop(ip('10.77.0.9')), ip('10.77.0.9'))
    routes.remove(ip('10.77.0.101'), 24)
    t.equal(routes.nextHop(ip('10.77.0.9')), NO_ROUTE)
  },
)

t.test('P12: of several gateways the first is used that is not silent', async (t) => {
  const routes = new RouteTable()
  const [a, b, far] = [ip('10.77.0.1'), ip('10.77.0.2'), ip('8.8.8.8')]
  routes.addOnLink(ip('10.77.0.100'), 24)
  for (const each of [a, b, b]) routes.addGateway(each)
  t.equal(routes.nextHop(far), a)
  t.ok(routes.isGateway(b))
  t.notOk(routes.isGateway(far))
  t.notOk(routes.skip(far), 'nobody takes the place of a host')
  t.ok(routes.skip(a))
  t.equal(routes.nextHop(far), b)
  t.equal(routes.nextHop(ip('10.77.0.9')), ip('10.77.0.9'))
  routes.heard(a)
  t.equal(routes.nextHop(far), a, 'the preferred one is back')
  t.ok(routes.skip(a))
  t.notOk(routes.skip(b), 'none is left')
  t.equal(routes.nextHop(far), a, 'and all are tried again')
  routes.remove(ip('0.0.0.0'), 0)
  t.notOk(routes.isGateway(a))
  t.equal(routes.nextHop(far), NO_ROUTE)
})

t.test('what cannot work is refused', async (t) => {
  const routes = new RouteTable()
  t.throws(() => routes.addGateway(ip('10.0.0.1')), { code: 'ERR_GATEWAY_UNREACHABLE' })
  for (const prefix of [-1, 33, 1.5]) {
    t.throws(() => routes.addOnLink(ip('10.0.0.1'), prefix), { code: 'ERR_INVALID_PREFIX' })
  }
  for (let n = 0; n < MAX_ROUTES; n++) routes.addOnLink((n << 8) as Ipv4Address, 24)
  t.throws(() => routes.addOnLink(ip('10.0.0.1'), 24), { code: 'ERR_TOO_MANY_ROUTES' })
})

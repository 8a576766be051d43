import t from 'tap'
import { NEVER } from '../../../stack/base/time.js'
import {
  MAX_NEIGHBORS,
  MAX_PENDING_NEIGHBORS,
  MAX_REQUESTS,
  NeighborCache,
  Question,
  REACHABLE_MS,
  REQUEST_INTERVAL_MS,
  UNRESOLVED,
} from '../../../stack/net/neighbor.js'
import { BROADCAST_MAC } from '../../../stack/wire/ethernet.js'
import { type Ipv4Address, parseIpv4Address } from '../../../stack/wire/ipv4.js'

const IP = parseIpv4Address('10.77.0.9')
const MAC = 0x0200_0000_0009
const OTHER_MAC = 0x0200_0000_000a

const host = (n: number) => (0x0a000000 + n) as Ipv4Address

/** The requests that are due at `now`. */
function due(cache: NeighborCache, now: number): Question[] {
  const requests: Question[] = []
  for (let out = new Question(); cache.pollRequest(out, now); out = new Question()) {
    requests.push(out)
  }
  return requests
}

t.test('resolves: one request at once, the answer ends it', async (t) => {
  const cache = new NeighborCache()
  t.equal(cache.lookup(IP), UNRESOLVED)
  t.ok(cache.needsRequest(IP, 0))
  t.equal(cache.nextDeadline(), NEVER)
  t.ok(cache.solicit(IP, 0))
  t.ok(cache.isPending(IP))
  t.notOk(cache.needsRequest(IP, 0))
  t.equal(cache.nextDeadline(), 0)
  t.match(due(cache, 0), [{ targetIp: IP, knownMac: UNRESOLVED }])
  t.ok(cache.solicit(IP, 1), 'asking again changes nothing')
  t.same(due(cache, 999), [])
  t.equal(cache.nextDeadline(), REQUEST_INTERVAL_MS)
  t.ok(cache.learn(IP, MAC, 1))
  t.equal(cache.lookup(IP), MAC)
  t.notOk(cache.isPending(IP))
  t.notOk(cache.needsRequest(IP, 2))
  t.equal(cache.nextDeadline(), NEVER)
})

t.test('without answer: one request a second, three in all, then given up', async (t) => {
  const cache = new NeighborCache()
  cache.solicit(IP, 100)
  const sentAt: number[] = []
  for (let now = 0; now < 10_000; now += 50) {
    for (const _ of due(cache, now)) sentAt.push(now)
  }
  t.same(sentAt, [100, 1100, 2100])
  t.equal(sentAt.length, MAX_REQUESTS)
  t.notOk(cache.isPending(IP))
  t.same([cache.failures, cache.size, cache.nextDeadline()], [1, 0, NEVER])
})

t.test('an old mapping goes on serving while its owner is asked', async (t) => {
  const cache = new NeighborCache()
  cache.learn(IP, MAC, 0)
  t.notOk(cache.needsRequest(IP, REACHABLE_MS - 1))
  t.ok(cache.needsRequest(IP, REACHABLE_MS))
  cache.solicit(IP, REACHABLE_MS)
  t.match(due(cache, REACHABLE_MS), [{ targetIp: IP, knownMac: MAC }], 'asked directly')
  t.equal(cache.lookup(IP), MAC)
  t.notOk(cache.isPending(IP))
  cache.learn(IP, MAC, REACHABLE_MS + 1)
  t.notOk(cache.needsRequest(IP, 2 * REACHABLE_MS))
})

t.test('an old mapping whose owner is silent is forgotten', async (t) => {
  const cache = new NeighborCache()
  cache.learn(IP, MAC, 0)
  cache.solicit(IP, REACHABLE_MS)
  for (let i = 0; i <= MAX_REQUESTS; i++) due(cache, REACHABLE_MS + i * REQUEST_INTERVAL_MS)
  t.equal(cache.lookup(IP), UNRESOLVED)
  t.equal(cache.failures, 1)
})

t.test(
  'RFC 826: a known sender is updated, an unknown one only added when it asks for us',
  async (t) => {
    const cache = new NeighborCache()
    t.notOk(cache.hear(IP, MAC, false, 0), 'an announcement of a stranger')
    t.equal(cache.size, 0)
    t.ok(cache.hear(IP, MAC, true, 0))
    t.equal(cache.lookup(IP), MAC)
    t.ok(cache.hear(IP, MAC, false, 1), 'a known one is confirmed')
  },
)

t.test('T6: who claims the address of a neighbour is believed when that is silent', async (t) => {
  const cache = new NeighborCache()
  const request = new Question()
  cache.learn(IP, MAC, 0)
  for (const targetIsOurs of [true, false]) {
    t.notOk(cache.hear(IP, OTHER_MAC, targetIsOurs, 500), 'it has just been heard')
    t.notOk(cache.pollRequest(request, 500))
  }
  t.notOk(cache.hear(IP, OTHER_MAC, true, 2000))
  t.ok(cache.pollRequest(request, 2000))
  t.equal(request.knownMac, MAC, 'it is asked where it was')
  t.notOk(cache.hear(IP, OTHER_MAC, true, 2050))
  t.equal(cache.lookup(IP), MAC)
  t.ok(cache.hear(IP, MAC, true, 2060))
  t.equal(cache.nextDeadline(), NEVER)
  t.notOk(cache.hear(IP, OTHER_MAC, true, 2070))
  t.equal(cache.nextDeadline(), NEVER, 'no more than once a second')
  t.notOk(cache.hear(IP, OTHER_MAC, true, 4000))
  for (const at of [4000, 4100, 4200]) t.ok(cache.pollRequest(request, at), `${at}`)
  t.equal(cache.lookup(IP), MAC)
  t.notOk(cache.pollRequest(request, 4300))
  t.equal(cache.lookup(IP), OTHER_MAC, 'it has moved')
  t.equal(cache.failures, 0)
})

t.test(
  'P12: one that is in doubt is asked in quick succession, and named when it is silent',
  async (t) => {
    const cache = new NeighborCache()
    cache.doubt(IP, 0)
    t.equal(cache.size, 0, 'of a stranger there is nothing to doubt')
    cache.learn(IP, MAC, 0)
    cache.doubt(IP, REQUEST_INTERVAL_MS - 1)
    t.same(due(cache, REQUEST_INTERVAL_MS - 1), [], 'it has just been heard')
    cache.doubt(IP, 2000)
    t.match(due(cache, 2000), [{ targetIp: IP, knownMac: MAC }])
    cache.learn(IP, MAC, 2001)
    t.equal(cache.nextDeadline(), NEVER, 'it is there')
    t.equal(cache.pollFailure(2001), null)
    cache.doubt(IP, 4000)
    for (const at of [4000, 4100, 4200]) t.equal(due(cache, at).length, 1, `${at}`)
    t.equal(cache.lookup(IP), MAC, 'what is sent goes on there')
    t.match(cache.pollFailure(4300), { ip: IP, mac: MAC })
    t.equal(cache.pollFailure(4300), null, 'once')
    t.equal(cache.lookup(IP), UNRESOLVED)
  },
)

t.test('a probe, a group address or a foreign address teaches nothing', async (t) => {
  const cache = new NeighborCache()
  for (const ip of ['0.0.0.0', '255.255.255.255', '224.0.0.1', '127.0.0.1']) {
    t.notOk(cache.learn(parseIpv4Address(ip), MAC, 0), ip)
    t.notOk(cache.solicit(parseIpv4Address(ip), 0), ip)
  }
  t.notOk(cache.learn(IP, BROADCAST_MAC, 0))
  t.notOk(cache.learn(IP, 0, 0))
  t.equal(cache.size, 0)
})

t.test('the table is bounded: the mapping confirmed longest ago makes way', async (t) => {
  const cache = new NeighborCache()
  cache.solicit(host(1), 0)
  for (let n = 2; n <= MAX_NEIGHBORS; n++) cache.learn(host(n), MAC, n)
  cache.learn(host(2), MAC, 5000)
  t.same([cache.size, cache.evictions], [MAX_NEIGHBORS, 0])
  cache.learn(host(MAX_NEIGHBORS + 1), MAC, 5001)
  t.same([cache.size, cache.evictions], [MAX_NEIGHBORS, 1])
  t.equal(cache.lookup(host(3)), UNRESOLVED, 'the oldest but one that was confirmed again')
  t.equal(cache.lookup(host(2)), MAC)
  t.ok(cache.isPending(host(1)), 'what is being asked for stays')
})

t.test('the number of addresses being asked for is bounded', async (t) => {
  const cache = new NeighborCache()
  for (let n = 1; n <= MAX_PENDING_NEIGHBORS; n++) t.ok(cache.solicit(host(n), 0))
  t.notOk(cache.solicit(host(MAX_PENDING_NEIGHBORS + 1), 0))
  t.equal(due(cache, 0).length, MAX_PENDING_NEIGHBORS)
  cache.learn(host(1), MAC, 1)
  t.ok(cache.solicit(host(MAX_PENDING_NEIGHBORS + 1), 1))
  t.equal(due(cache, 1).length, 1)
})

t.test('forget drops a mapping and stops asking', async (t) => {
  const cache = new NeighborCache()
  cache.solicit(IP, 0)
  cache.forget(IP)
  cache.forget(IP)
  t.same([cache.size, cache.nextDeadline(), due(cache, 0).length], [0, NEVER, 0])
})

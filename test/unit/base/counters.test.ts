import t from 'tap'
import { DropCounters, DropReason, dropReasonName } from '../../../stack/base/counters.js'

t.test('each reason has a number and a name of its own', async (t) => {
  const reasons = Object.values(DropReason)
  t.same(
    reasons,
    reasons.map((_, i) => i),
    'numbered without holes, as the names are looked up by number',
  )
  t.equal(new Set(reasons.map(dropReasonName)).size, reasons.length)
  t.equal(dropReasonName(DropReason.IPV4_BAD_CHECKSUM), 'ipv4-bad-checksum')
  t.equal(dropReasonName(DropReason.TCP_NO_CONNECTION), 'tcp-no-connection')
})

t.test('counts by reason; only what happened is shown', async (t) => {
  const counters = new DropCounters()
  t.same(counters.toJSON(), {})
  counters.count(DropReason.TCP_PAWS)
  counters.count(DropReason.TCP_PAWS)
  counters.count(DropReason.ARP_MALFORMED)
  t.equal(counters.get(DropReason.TCP_PAWS), 2)
  t.equal(counters.get(DropReason.NO_ROUTE), 0)
  t.same(counters.toJSON(), { 'arp-malformed': 1, 'tcp-paws': 2 })
})

t.test('every reason can be counted', async (t) => {
  const counters = new DropCounters()
  const reasons = Object.values(DropReason).filter((reason) => reason !== DropReason.NONE)
  for (const reason of reasons) counters.count(reason)
  t.equal(Object.keys(counters.toJSON()).length, reasons.length)
})

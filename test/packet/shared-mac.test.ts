/** P12: an address that has Ethernet addresses to itself: a virtual one that moves with it, or groups that switches pass on to all ports. */
import t, { type Test } from 'tap'
import type { AddressMacs } from '../../stack/index.js'
import { decodeArp } from './codec.js'
import {
  ACK,
  asks,
  established,
  IRS,
  ISS,
  LOCAL,
  LOCAL_MAC,
  PEER,
  PEER_MAC,
  type Script,
} from './peer.js'

const VIRTUAL = 0x02_00_5e_00_01_64
const GROUP = 0x03_00_5e_00_01_64
const ROUTERS = 0x03_00_5e_00_01_65

/** Asks for the address, and gives the Ethernet address that the answer came from, and that it names. */
function whoHas(c: Script): [src: number, named: number] | undefined {
  asks(c, LOCAL)
  const [answer] = c.others.splice(0)
  return answer && [answer.src, decodeArp(answer.payload).senderMac]
}

function at(t: Test, macs: AddressMacs): Script {
  const c = established(t)
  c.nic.setAddress(LOCAL, 24, 'assigned', macs)
  return c
}

t.test('P12, P13: a virtual Ethernet address belongs to whoever has the address', (t) => {
  const c = at(t, { named: VIRTUAL })
  t.same(whoHas(c), [VIRTUAL, VIRTUAL])
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'to it', dstMac: VIRTUAL })
  t.equal(c.read(), 'to it')
  c.expects({ ack: IRS + 6, srcMac: VIRTUAL, dstMac: PEER_MAC })
  c.nic.announce(LOCAL, c.now)
  c.drain()
  t.equal(c.others.splice(0)[0]?.src, VIRTUAL, 'switches learn where it is now')
  c.nic.setAddress(LOCAL, 24, 'observed')
  const text = 'for another'
  c.peerSends({ seq: IRS + 6, ack: ISS + 1, flags: ACK, text, dstMac: VIRTUAL })
  c.expectsNothing()
  t.equal(c.drops('ethernet-other-mac'), 1, 'who only watches does not take it')
  t.equal(whoHas(c), undefined)
  c.nic.setAddress(LOCAL, 24, 'assigned')
  t.same(whoHas(c), [VIRTUAL, VIRTUAL], 'what it is at is not forgotten')
  t.end()
})

t.test('P12: the address of a group is named, and nothing is sent from it', (t) => {
  const c = at(t, { named: GROUP })
  t.same(whoHas(c), [LOCAL_MAC, GROUP])
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'to all', dstMac: GROUP })
  t.equal(c.read(), 'to all')
  c.expects({ ack: IRS + 7, srcMac: LOCAL_MAC, dstMac: PEER_MAC })
  t.end()
})

t.test(
  'P12: what leaves goes to the group of nodes and routers, and no neighbour is asked for',
  (t) => {
    const c = at(t, { named: GROUP, sendTo: ROUTERS })
    c.nic.neighbors.forget(PEER)
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'to all', dstMac: GROUP })
    t.equal(c.read(), 'to all')
    c.expects({ ack: IRS + 7, srcMac: LOCAL_MAC, dstMac: ROUTERS })
    t.equal(c.nic.neighbors.size, 0)
    t.end()
  },
)

t.test('P12, D3: who claims an address that has one to itself is noticed by another one', (t) => {
  const c = at(t, { named: VIRTUAL })
  const claims = (senderMac: number): void => {
    asks(c, LOCAL, { senderMac, senderIp: LOCAL })
  }
  claims(VIRTUAL)
  t.equal(c.nic.conflicts, 0, 'by the same it cannot be told from ourselves: declarations tell')
  claims(LOCAL_MAC + 1)
  t.equal(c.nic.conflicts, 1)
  t.end()
})

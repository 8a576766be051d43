import t from 'tap'
import { fromHex } from '../../../stack/wire/bytes.js'
import { EtherType } from '../../../stack/wire/ethernet.js'
import { findNetworkLayer, LinkType, NetworkLayer } from '../../../stack/wire/link-type.js'

const MACS = '020000000001 020000000002'
const IP = '45000014'

/** Where the network layer of a frame lies: EtherType and offset; or null. */
function find(linkType: number, text: string): [number, number] | null {
  const bytes = fromHex(text.replace(/\s/g, ''))
  const layer = new NetworkLayer()
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return findNetworkLayer(layer, linkType, view, 0, bytes.length)
    ? [layer.etherType, layer.start]
    : null
}

t.test('O2: the network layer is found under every common link layer', async (t) => {
  const cases: [string, number, string, number, number][] = [
    ['Ethernet', LinkType.ETHERNET, `${MACS} 0800 ${IP}`, EtherType.IPV4, 14],
    ['802.1Q', LinkType.ETHERNET, `${MACS} 8100 0007 0800 ${IP}`, EtherType.IPV4, 18],
    [
      '802.1ad over 802.1Q',
      LinkType.ETHERNET,
      `${MACS} 88a8 0007 8100 0008 86dd 60`,
      EtherType.IPV6,
      22,
    ],
    ['MPLS', LinkType.ETHERNET, `${MACS} 8847 00010040 00020140 ${IP}`, EtherType.IPV4, 22],
    [
      'a pseudowire',
      LinkType.ETHERNET,
      `${MACS} 8847 00020140 00000000 ${MACS} 0800 ${IP}`,
      EtherType.IPV4,
      36,
    ],
    ['LLC and SNAP', LinkType.ETHERNET, `${MACS} 001c aaaa03000000 0800 ${IP}`, EtherType.IPV4, 22],
    ['PPPoE', LinkType.ETHERNET, `${MACS} 8864 110000010016 0021 ${IP}`, EtherType.IPV4, 22],
    ['ARP', LinkType.ETHERNET, `${MACS} 0806 0001`, EtherType.ARP, 14],
    [
      'cooked v1',
      LinkType.LINUX_SLL,
      `0000 0001 0006 0200000000010000 0800 ${IP}`,
      EtherType.IPV4,
      16,
    ],
    [
      'cooked v2',
      LinkType.LINUX_SLL2,
      `0800 0000 00000003 0001 00 06 0200000000010000 ${IP}`,
      EtherType.IPV4,
      20,
    ],
    ['raw', LinkType.RAW, '6000', EtherType.IPV6, 0],
    ['loopback of BSD', LinkType.NULL, `02000000 ${IP}`, EtherType.IPV4, 4],
    ['loopback of OpenBSD', LinkType.LOOP, '0000001e 60', EtherType.IPV6, 4],
    ['PPP', LinkType.PPP, `ff03 0021 ${IP}`, EtherType.IPV4, 4],
  ]
  for (const [name, linkType, text, etherType, start] of cases) {
    t.same(find(linkType, text), [etherType, start], name)
  }
})

t.test('what is cut short, or nothing that is known, is not found', async (t) => {
  t.equal(find(LinkType.ETHERNET, MACS), null)
  t.equal(find(LinkType.ETHERNET, `${MACS} 8100 00`), null)
  t.equal(find(LinkType.ETHERNET, `${MACS} 8847 000100`), null)
  t.equal(find(LinkType.ETHERNET, `${MACS} 0026 424203`), null, '802.2 without SNAP')
  t.equal(find(LinkType.LINUX_SLL2, '0800'), null)
  t.equal(find(LinkType.RAW, ''), null)
  t.equal(find(LinkType.RAW, '55'), null, 'IP has no version 5')
  t.equal(find(147, `${MACS} 0800 ${IP}`), null, 'a link type for private use')
})

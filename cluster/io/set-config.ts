/**
 * The terms of a permanency set in a configuration: what its nodes may ask for, alone and together.
 */
import { BROADCAST_MAC, isGroupMac, type MacAddress, parseMacAddress } from '../../stack/index.js'
import type { NodeId } from '../binding.js'
import { type FailoverPolicy, termsOf } from '../failover-policy.js'
import type { PermanencySet, StrictTerms } from '../node-options.js'
import { MAX_PEERS } from '../peers.js'
import { choice, type Fail, type Fields, integer, show } from './config-fields.js'

// P25: of the bindings of one address one answers for it: the one that says "arp": true, or else the first.
export function withArp(
  set: PermanencySet,
  sets: readonly PermanencySet[],
  at: string,
  fail: Fail,
): PermanencySet {
  const { arp, ...rest } = set
  const of = sets.filter(({ binding }) => binding.address === set.binding.address)
  if (of.length === 1) return rest
  const named = of.filter((each) => each.arp === 'here')
  if (of.some(({ macs }) => macs?.named !== set.macs?.named || macs?.sendTo !== set.macs?.sendTo)) {
    fail(`${at}.mac`, 'the bindings of one address have one: write it in each of them')
  }
  if (named.length > 1 && arp === 'here' && named[0] !== set) {
    fail(`${at}.arp`, 'another binding of this address answers for it already; say it of one only')
  }
  const first = named[0] ?? of[0]
  return { ...rest, arp: set === first ? 'here' : 'elsewhere' }
}

// P12: where neighbours are told that the address is, and the group that routers and nodes take its frames by.
export function checkMacs(fields: Fields, fail: Fail): Pick<PermanencySet, 'macs'> {
  if (fields.mac === undefined) {
    if (fields.routersMac === undefined) return {}
    const what = `${show(fields.routersMac)} goes with "mac", the group by which the nodes are reached`
    return fail('binding.routersMac', what)
  }
  const named = macIn(fields, 'mac', fail)
  if (fields.routersMac === undefined) return { macs: { named } }
  const sendTo = macIn(fields, 'routersMac', fail)
  if (isGroupMac(sendTo)) return { macs: { named, sendTo } }
  const what = `${show(fields.routersMac)} is one station's; write that of a group, as "03:00:5e:00:01:65"`
  return fail('binding.routersMac', what)
}

function macIn(fields: Fields, name: string, fail: Fail): MacAddress {
  let mac: MacAddress = BROADCAST_MAC
  try {
    mac = parseMacAddress(String(fields[name]), name)
  } catch {
    // It is told below.
  }
  if (mac !== BROADCAST_MAC && mac !== 0) return mac
  return fail(
    `binding.${name}`,
    `must be an Ethernet address, as "03:00:5e:00:01:64", not ${show(fields[name])}`,
  )
}

// A binding returns where the policy prefers one node whatever the others carry, and nothing waits for a peer.
export function checkRecovery(policy: FailoverPolicy, strict: unknown, fail: Fail): void {
  const field = 'binding.recovery'
  const { weighs, inner, name } = termsOf(policy)
  if (weighs || inner !== null) {
    fail(field, `"return" needs the policy smallest-id or { "ordered": [2, 1] }, not ${name}`)
  }
  if (strict !== undefined) fail(field, '"return" and strict mode exclude each other yet')
}

// How many peers must have what is acknowledged: 1, or { "peers": 1, "alone": "go-on" }.
export function checkStrict(
  value: unknown,
  members: readonly NodeId[] | undefined,
  fail: Fail,
): StrictTerms {
  const field = 'binding.strict'
  const short = typeof value === 'number'
  const fields = (short ? { peers: value } : value) as Fields
  const known = ['peers', 'alone']
  const plain = typeof fields === 'object' && fields !== null && !Array.isArray(fields)
  if (!plain || Object.keys(fields).some((each) => !known.includes(each))) {
    return fail(field, `must be 1, or { "peers": 1, "alone": "go-on" }, not ${show(value)}`)
  }
  const failShort: Fail = (at, what) => fail(short ? field : at, what)
  const most = members === undefined ? MAX_PEERS : members.length - 1
  const what = 'the number of peers that confirm, at most all of the set but the owner,'
  const peers = integer(fields, 'peers', 1, most, what, failShort, `${field}.`)
  return { peers, alone: choice(fields, 'alone', ['hold', 'go-on'], fail, `${field}.`) }
}

// How many nodes of the set must be heard: "majority", or a number that only one side of a cut can have.
export function checkQuorum(
  value: unknown,
  members: readonly NodeId[] | undefined,
  fail: Fail,
): number {
  const field = 'binding.quorum'
  if (members === undefined || members.length < 3) {
    const why = 'of fewer than three none can tell a cut from a death'
    return fail(field, `needs the nodes by name: give "set": [1, 2, 3]; ${why}`)
  }
  const least = Math.floor(members.length / 2) + 1
  if (value === 'majority') return least
  const valid = Number.isInteger(value) && (value as number) >= least
  if (valid && (value as number) <= members.length) return value as number
  const range = `"majority" or ${least} to ${members.length}`
  return fail(field, `must be ${range} with a set of ${members.length}, not ${show(value)}`)
}

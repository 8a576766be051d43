/**
 * The routers in a node's configuration (P12): each is a neighbour on the network of one of its bindings.
 */
import { type IpAddress, inPrefix, isIpv4, parseIpAddress } from '../../stack/index.js'
import type { Binding } from '../binding.js'
import { type Fail, type Fields, flag, show } from './config-fields.js'

/** More than a network has for its hosts to choose from. */
export const MAX_ROUTERS = 8

const FIELD = 'routers'
const LINK_LOCAL = /^fe[89ab][0-9a-f]:/i

/** Checks `routers` and `macFilter`. */
export function checkRouters(
  fields: Fields,
  bindings: readonly Binding[],
  fail: Fail,
): { routers: readonly IpAddress[]; macFilter: boolean } {
  const routers = listOf(fields.routers, bindings, fail)
  const macFilter = flag(fields, 'macFilter', false, fail)
  if (macFilter && (routers.length === 0 || !routers.every(isIpv4))) {
    fail(
      'macFilter',
      'true needs "routers" of IPv4: frames to clients on the link itself would be left unread',
    )
  }
  return { routers, macFilter }
}

function listOf(value: unknown, bindings: readonly Binding[], fail: Fail): readonly IpAddress[] {
  if (value === undefined) return []
  const list = Array.isArray(value) ? value : []
  if (
    list.length === 0 ||
    list.length > MAX_ROUTERS ||
    !list.every((each) => typeof each === 'string')
  ) {
    const wanted = `a list of 1 to ${MAX_ROUTERS} addresses, as ["10.77.0.1", "10.77.0.2"]`
    return fail(FIELD, `must be ${wanted}, not ${show(value)}`)
  }
  if (new Set(list).size !== list.length) fail(FIELD, `${show(value)} names a router twice`)
  return list.map((each: string) => checkRouter(each, bindings, fail))
}

function checkRouter(text: string, bindings: readonly Binding[], fail: Fail): IpAddress {
  let router: IpAddress
  try {
    router = parseIpAddress(text, FIELD)
  } catch {
    return fail(FIELD, `${show(text)} is no address; write one as "10.77.0.1"`)
  }
  const own = bindings.filter(({ address }) => isIpv4(address) === isIpv4(router))
  if (own.some(({ address }) => address === router)) {
    fail(FIELD, `${text} is a virtual address of this node; name a router`)
  }
  const near = (binding: Binding): boolean => inPrefix(router, binding.address, binding.prefix)
  const linked = !isIpv4(router) && LINK_LOCAL.test(text)
  if (own.some((binding) => linked || near(binding))) return router
  return fail(
    FIELD,
    `${text} is on the network of no binding; name the address that the router has there, or widen the binding's prefix`,
  )
}

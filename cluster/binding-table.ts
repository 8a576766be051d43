// hot path: no allocation per frame
/**
 * BindingTable: from a local endpoint to what is kept for its binding. An address that no binding has costs one look-up (P2);
 * the bindings of one address share it by ranges of ports that do not overlap (P25).
 */
import { holdAddress, StackError } from '../stack/index.js'
import type { Binding } from './binding.js'

interface Range<T> {
  readonly first: number
  readonly last: number
  readonly value: T
}

export class BindingTable<T> {
  readonly #byAddress = new Map<number, Range<T>[]>()

  /** Adds what is kept for `binding`. Throws ERR_BINDING_OVERLAP when another one has some of its ports. */
  // allocates: once per binding
  add(binding: Binding, value: T): void {
    const { address, firstPort, lastPort } = binding
    const ranges = this.#byAddress.get(address) ?? []
    const other = ranges.find((range) => range.first <= lastPort && firstPort <= range.last)
    if (other !== undefined) {
      throw new StackError(
        'ERR_BINDING_OVERLAP',
        `bindings: the ports ${firstPort}-${lastPort} and ${other.first}-${other.last} of one address overlap; give each port to one binding`,
      )
    }
    ranges.push({ first: firstPort, last: lastPort, value })
    this.#byAddress.set(address, ranges)
    // A binding stays as long as its node.
    holdAddress(address)
  }

  /** What is kept for the binding of this endpoint, or undefined. */
  find(address: number, port: number): T | undefined {
    const ranges = this.#byAddress.get(address)
    if (ranges === undefined) return undefined
    for (let i = 0; i < ranges.length; i++) {
      const range = ranges[i] as Range<T>
      if (port >= range.first && port <= range.last) return range.value
    }
    return undefined
  }

  /** True when some binding has the address. */
  has(address: number): boolean {
    return this.#byAddress.has(address)
  }
}

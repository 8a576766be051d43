/**
 * DgramSettings: what a UDP socket is besides what it sends and hears: its state, and the settings of Node's dgram.Socket. Those
 * of multicast groups are refused, because the stack speaks no IGMP; to send to a group is possible.
 */
import { EventEmitter } from 'node:events'
import type { UdpSocket } from '../net/udp.js'
import { invalidArgument } from './argument-errors.js'
import { coded, errnoError } from './errors.js'

export const DgramState = { UNBOUND: 0, BINDING: 1, BOUND: 2, CLOSED: 3 } as const
export type DgramState = (typeof DgramState)[keyof typeof DgramState]

/** The part of a UDP socket that is not about datagrams. */
export abstract class DgramSettings extends EventEmitter {
  protected state: DgramState = DgramState.UNBOUND
  protected socket: UdpSocket | null = null

  setBroadcast(flag: boolean): void {
    this.bound('setBroadcast').broadcast = Boolean(flag)
  }

  /** Routers that a datagram may pass, 1 .. 255. */
  setTTL(ttl: number): number {
    this.bound('setTTL').ttl = ttlOf(ttl, 1, 'setTTL')
    return ttl
  }

  setMulticastTTL(ttl: number): number {
    this.bound('setMulticastTTL').multicastTtl = ttlOf(ttl, 0, 'setMulticastTTL')
    return ttl
  }

  /** What it sends to a group never comes back to this stack, whatever is set. */
  setMulticastLoopback(flag: boolean): boolean {
    this.bound('setMulticastLoopback')
    return flag
  }

  setMulticastInterface(_address: string): void {
    throw errnoError('EOPNOTSUPP', 'setMulticastInterface')
  }

  addMembership(_group: string, _address?: string): void {
    throw errnoError('EOPNOTSUPP', 'addMembership')
  }

  dropMembership(_group: string, _address?: string): void {
    throw errnoError('EOPNOTSUPP', 'dropMembership')
  }

  getRecvBufferSize(): number {
    return this.#buffered('recv').receiveLimit
  }

  setRecvBufferSize(size: number): void {
    const octets = sizeOf(size)
    this.#buffered('recv').receiveLimit = octets
  }

  getSendBufferSize(): number {
    return this.#buffered('send').sendLimit
  }

  setSendBufferSize(size: number): void {
    const octets = sizeOf(size)
    this.#buffered('send').sendLimit = octets
  }

  /** Octets that wait to be sent. */
  getSendQueueSize(): number {
    return this.socket?.sendQueueOctets ?? 0
  }

  /** Datagrams that wait to be sent. */
  getSendQueueCount(): number {
    return this.socket?.sendQueueCount ?? 0
  }

  protected checkRunning(): void {
    if (this.state === DgramState.CLOSED) throw notRunning()
  }

  /** The socket of the stack. Throws EBADF before it is bound. */
  protected bound(syscall: string): UdpSocket {
    this.checkRunning()
    if (this.socket === null) throw errnoError('EBADF', syscall)
    return this.socket
  }

  #buffered(which: 'recv' | 'send'): UdpSocket {
    this.checkRunning()
    if (this.socket !== null) return this.socket
    const text = `Could not get or set buffer size: uv_${which}_buffer_size returned EBADF (bad file descriptor)`
    throw coded(new Error(text), 'ERR_SOCKET_BUFFER_SIZE')
  }
}

export function notRunning(): Error {
  return coded(new Error('Not running'), 'ERR_SOCKET_DGRAM_NOT_RUNNING')
}

function ttlOf(ttl: unknown, least: number, syscall: string): number {
  if (typeof ttl !== 'number') throw invalidArgument('ttl', 'of type number', ttl)
  if (ttl >= least && ttl <= 255) return ttl
  throw errnoError('EINVAL', syscall)
}

function sizeOf(size: unknown): number {
  if (typeof size === 'number' && Number.isInteger(size) && size > 0) return size
  throw coded(new TypeError('Buffer size must be a positive integer'), 'ERR_SOCKET_BAD_BUFFER_SIZE')
}

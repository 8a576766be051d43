/**
 * The TCP/IP stack: all that the cluster and the applications may use of it.
 */
export { assert } from './base/assert.js'
export { DropCounters, DropReason, dropReasonName } from './base/counters.js'
export { StackError } from './base/errors.js'
export { add, diff, ge, gt, inWindow, le, lt, max, min, type Seq, seq, ZERO } from './base/seq.js'
export type { SipKey } from './base/siphash.js'
export { StreamBuffer } from './base/stream-buffer.js'
export { type Clock, type Millis, NEVER, type Rng } from './base/time.js'
export { Hub, HubPort } from './link/hub.js'
export {
  type FrameSink,
  type LinkEndpoint,
  NO_OFFLOAD,
  type Offload,
} from './link/link-endpoint.js'
export { type CaptureSink, RecordingLink } from './link/recording-link.js'
export { Reassembler } from './net/fragments.js'
export {
  type AddressMacs,
  type AddressState,
  type FrameSnoop,
  Nic,
  type NicConfig,
} from './net/nic.js'
export { type ReceivedDatagram, UdpEvent, type UdpSocket } from './net/udp.js'
export {
  createDgram,
  type Dgram,
  type DgramSocket,
  type RemoteInfo,
} from './socket/dgram.js'
export type { CheckpointPort, StackHost } from './socket/host.js'
export { createNet, type Net } from './socket/net.js'
export type { Server } from './socket/server.js'
export type { Socket } from './socket/socket.js'
export { type Endpoints, Stack, type StackOptions } from './stack.js'
export type { CongestionAlgorithm } from './tcp/congestion/congestion-control.js'
export { Connection, ConnectionEvent } from './tcp/connection.js'
export { Effect, type EffectSet } from './tcp/effects.js'
export type { EcnUse } from './tcp/handshake.js'
export { TcpListener } from './tcp/listener.js'
export { EPHEMERAL_PORTS } from './tcp/openings.js'
export { pour } from './tcp/pour.js'
export { arrivedElsewhere, arrivedUnseen, segmentArrives } from './tcp/segment-arrives.js'
export { departedUnseen, moveClock, segmentDeparts } from './tcp/segment-departs.js'
export { isSynchronized, TCP_STATE_NAMES, TcpState } from './tcp/state.js'
export { confirm, firstUnshared, levelOf, NO_CLAMP, OPENING, UNKNOWN } from './tcp/strict.js'
export {
  type Buffers,
  newBuffers,
  Offer,
  openPassive,
  TCB_DOUBLE_FIELDS,
  TCB_FIELDS,
  TCB_INT_FIELDS,
  Tcb,
  type TcbParts,
  timestampAt,
  timeWaitExpires,
} from './tcp/tcb.js'
export { hushedName } from './tcp/tcp.js'
export type { ServiceScope } from './transport-input.js'
export { ArpOperation, emitArp } from './wire/arp.js'
export { verifyTransport } from './wire/checksum.js'
export {
  BROADCAST_MAC,
  type EthernetHeader,
  EtherType,
  formatMacAddress,
  isGroupMac,
  type MacAddress,
  parseMacAddress,
} from './wire/ethernet.js'
export { ChecksumState, Frame, HEADROOM } from './wire/frame.js'
export {
  addressBits,
  dropAddress,
  endpointKey,
  formatEndpoint,
  formatIpAddress,
  holdAddress,
  type IpAddress,
  inPrefix,
  ipAddressAt,
  isIpv4,
  isUnicast,
  parseIpAddress,
  putIpAddress,
  UNSPECIFIED,
} from './wire/ip-address.js'
export {
  formatIpv4Address,
  IpProtocol,
  type Ipv4Address,
  Ipv4Header,
  parseIpv4,
  parseIpv4Address,
} from './wire/ipv4.js'
export { Ipv6Header, Problem, parseIpv6 } from './wire/ipv6.js'
export {
  ACK,
  CWR,
  ECE,
  Ecn,
  emitTcp,
  FIN,
  PSH,
  parseSegment,
  parseTcp,
  RST,
  Segment,
  SYN,
} from './wire/tcp.js'

/**
 * ONC RPC (RFC 5531): a call taken out of its record, and its reply. AUTH_NONE and AUTH_SYS are accepted; who the client says
 * it is changes nothing, because all files are served with the rights of the server's own user.
 */
import { XdrError, XdrReader, XdrWriter } from './xdr.js'

const RPC_VERSION = 2
const CALL = 0
const REPLY = 1
const MSG_ACCEPTED = 0
const MSG_DENIED = 1
const RPC_MISMATCH = 0
const AUTH_ERROR = 1
const AUTH_NONE = 0
const AUTH_SYS = 1
const AUTH_BADCRED = 1
const AUTH_TOOWEAK = 5
/** RFC 5531 §8.2: octets of a credential or verifier. */
const MAX_AUTH = 400

const SUCCESS = 0
const PROG_UNAVAIL = 1
const PROG_MISMATCH = 2
const PROC_UNAVAIL = 3
const GARBAGE_ARGS = 4

/** Octets before the status of a reply: mark, xid, REPLY, MSG_ACCEPTED, an empty verifier. */
const ACCEPTED_LENGTH = 24

/** What a client asks for. */
export interface Call {
  readonly xid: number
  readonly program: number
  readonly version: number
  readonly procedure: number
  readonly args: XdrReader
}

/** Carries a procedure out: takes its arguments from `args`, and writes its result. Throws XdrError: GARBAGE_ARGS. */
export type Procedure<C> = (context: C, args: XdrReader, out: XdrWriter) => void

/** One version of a program: its procedures by number. */
export type Program<C> = Readonly<Record<number, Procedure<C>>>

/** Programs by number, and each by version. */
export type Programs<C> = Readonly<Record<number, Readonly<Record<number, Program<C>>>>>

/**
 * The call in `record`; or what it is to be answered with, when it is refused before any program sees it; or null when it is
 * no call at all, and cannot be answered.
 */
export function readCall(record: Buffer): Call | Buffer | null {
  const args = new XdrReader(record)
  try {
    const xid = args.u32()
    if (args.u32() !== CALL) return null
    if (args.u32() !== RPC_VERSION) {
      return denied(xid, (out) => out.u32(RPC_MISMATCH).u32(RPC_VERSION).u32(RPC_VERSION))
    }
    const [program, version, procedure] = [args.u32(), args.u32(), args.u32()]
    const wrong = wrongCredential(args)
    if (wrong !== null) return denied(xid, (out) => out.u32(AUTH_ERROR).u32(wrong))
    return { xid, program, version, procedure, args }
  } catch (error) {
    if (error instanceof XdrError) return null
    throw error
  }
}

// Why a call's credential is refused, or null.
function wrongCredential(args: XdrReader): number | null {
  const flavor = args.u32()
  const length = args.u32()
  if (length > MAX_AUTH) return AUTH_BADCRED
  const body = new XdrReader(args.fixed(length))
  args.u32()
  args.opaque(MAX_AUTH)
  if (flavor === AUTH_NONE) return null
  if (flavor !== AUTH_SYS) return AUTH_TOOWEAK
  try {
    body.u32()
    body.text(255)
    body.u32()
    body.u32()
    body.list(16, () => body.u32())
    return null
  } catch (error) {
    if (error instanceof XdrError) return AUTH_BADCRED
    throw error
  }
}

/** The record that answers `call`, carried out by one of `programs`. */
export function answerCall<C>(call: Call, programs: Programs<C>, context: C): Buffer {
  const out = new XdrWriter()
  out.u32(0).u32(call.xid).u32(REPLY).u32(MSG_ACCEPTED).u32(AUTH_NONE).u32(0)
  const versions = own(programs, call.program)
  const program = versions === undefined ? undefined : own(versions, call.version)
  const procedure = program === undefined ? undefined : own(program, call.procedure)
  if (versions === undefined) out.u32(PROG_UNAVAIL)
  else if (program === undefined) {
    const known = Object.keys(versions).map(Number)
    out
      .u32(PROG_MISMATCH)
      .u32(Math.min(...known))
      .u32(Math.max(...known))
  } else if (procedure === undefined) out.u32(PROC_UNAVAIL)
  else {
    try {
      procedure(context, call.args, out.u32(SUCCESS))
    } catch (error) {
      if (!(error instanceof XdrError)) throw error
      out.truncate(ACCEPTED_LENGTH)
      out.u32(GARBAGE_ARGS)
    }
  }
  return marked(out)
}

function own<T>(table: Readonly<Record<number, T>>, key: number): T | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined
}

function denied(xid: number, why: (out: XdrWriter) => void): Buffer {
  const out = new XdrWriter()
  out.u32(0).u32(xid).u32(REPLY).u32(MSG_DENIED)
  why(out)
  return marked(out)
}

// The reply as a record of one fragment.
function marked(out: XdrWriter): Buffer {
  out.patch(0, 0x8000_0000 + out.length - 4)
  return out.bytes
}

// hot path: no allocation per frame
/**
 * The first check of an arriving segment: is it in the window (RFC 9293 §3.10.7.4, table 6)?
 */
import { add, inWindow, type Seq } from '../base/seq.js'

/** True when a segment of `len` octets of sequence space at `seq` is acceptable for the window [rcvNxt, rcvNxt + wnd). */
export function isAcceptable(seq: Seq, len: number, rcvNxt: Seq, wnd: number): boolean {
  if (len === 0) return wnd === 0 ? seq === rcvNxt : inWindow(seq, rcvNxt, wnd)
  if (wnd === 0) return false
  return inWindow(seq, rcvNxt, wnd) || inWindow(add(seq, len - 1), rcvNxt, wnd)
}

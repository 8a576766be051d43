/** What clients are told when a server dies under them. */
import type { Failure } from './wire.js'

/** What a client is told whose transaction went with its owner. Clients know the code: they begin the transaction again. */
export const LOST: Failure = {
  code: '40001',
  message: 'the transaction is lost with the server that ran it; nothing of it was done',
  hint: 'Run the transaction again.',
}
/** Part of an answer has gone, of a statement that writes. */
export const UNDONE: Failure = {
  code: '40001',
  message: 'the server was replaced in the middle of the answer; nothing of the statement was done',
  hint: 'Run the statement again.',
}
/** The same, and its mark is there. */
export const REST_LOST: Failure = {
  code: '08007',
  message: 'the statement was carried out and committed, but the rest of its answer is lost',
}
/** Such as VACUUM, or a procedure that commits by itself. */
export const UNKNOWN: Failure = {
  code: '08007',
  message:
    'the server was replaced while it carried out a statement that leaves no mark; whether it was done is not known',
}

/** The database itself failed, not the server. */
export const CRASHED: Failure = {
  code: '58000',
  message: 'the database failed at it and was opened again; nothing of the statement was done',
}
/** This node serves the connection (P20), and not the address: the data are open where that is. */
export const ELSEWHERE: Failure = {
  code: '57P01',
  message: 'terminating connection: the database is open at another server of this address',
  hint: 'Connect again.',
  fatal: true,
}
export const CANCELLED: Failure = {
  code: '57014',
  message: 'canceling statement due to user request',
}
export const IDLE_TOO_LONG: Failure = {
  code: '25P03',
  message: 'terminating connection: others wait for the database, and its transaction does nothing',
  fatal: true,
}
export const TOO_SLOW: Failure = {
  code: '57P05',
  message: 'terminating connection: others wait for the database, and the answer is not taken',
  fatal: true,
}
export const HALF_MESSAGE: Failure = {
  code: '57P05',
  message: 'terminating connection: the rest of a message did not come',
  fatal: true,
}
